"""How good voices are, without a reference."""
