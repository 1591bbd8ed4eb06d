"""The latency budget: what fits this machine, and what each step still has time for."""
