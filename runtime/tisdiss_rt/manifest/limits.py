"""Limits of a manifest: beyond them it is damaged or meant to do harm; everything real is far below."""

LEAST_HZ = 1000  # below, some lengths of time are no sample
MOST_HZ = 768_000
MOST_SOURCES = 6  # as their orders are tried
DEEPEST = 64  # repetitions of the block
MOST_WINDOWS = 32
LONGEST_S = 60  # of windows, steps and latency
LONGEST_HOP_S = 0.25  # of voiceprints: a block of 0.256 s has one at least
MOST_NUMBERS = 1 << 26  # of a tensor of fixed shape, and of all that a stream keeps
MOST_INTEGER = 2**31 - 1
