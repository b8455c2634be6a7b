"""A matrix of model architectures: each is trained and decoded right, or refused in a sentence."""
