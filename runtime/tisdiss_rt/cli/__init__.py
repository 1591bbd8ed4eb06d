"""The command line: one module for each command with much to do."""
