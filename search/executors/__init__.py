"""Executors, which hold the workers: in this process or on Ray."""
