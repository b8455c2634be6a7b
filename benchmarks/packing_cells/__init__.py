"""The parts of the packing benchmark: what is trained, the ways of training it, the table of the numbers."""
