"""Many trials at once on one frozen base: adapters stacked, sequences concatenated, few launches."""
