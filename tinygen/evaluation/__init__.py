"""How good samples are: distances of sets, modes found, copies of the training data."""
