"""Training and decoding with many LoRA adapters at once on one frozen base."""
