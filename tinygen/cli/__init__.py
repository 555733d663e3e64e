"""The command line: `tinygen COMMAND`, one thin file a command. Reading order: `main`, `parser`."""
