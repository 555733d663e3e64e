"""The model families, one paper a file."""
