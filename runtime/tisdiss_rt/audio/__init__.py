"""Sound itself: files, sample rates and overlapping windows."""
