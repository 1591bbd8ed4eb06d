"""Sound in chunks, for bundles of either kind."""
