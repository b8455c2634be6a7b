"""Parts of `memory_model.py`, `capped.py` and `seventy_billion.py`.

Peak device memory against its prediction, and studies in less memory than the card has. Weights and data are
random, in the shapes of `packing_cells.shapes`.
"""
