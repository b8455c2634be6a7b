"""Greedy decoding with the adapters of several slots at once."""
