"""Corpora: many recordings, on all cores of a machine, for days, without losing one."""
