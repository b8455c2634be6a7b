"""Train and evaluate many LoRA adapters at once on one frozen base: adapters stacked, sequences concatenated."""
