"""Many trials at once on one frozen base: adapters stacked, sequences concatenated, launches that do not grow."""
