"""Checks of a base: what its configuration, its files and a model without weights tell."""
