"""The manifest of a bundle: what it consists of, how it is read, and what makes no sense in it."""
