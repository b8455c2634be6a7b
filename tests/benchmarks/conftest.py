import sys
from pathlib import Path

import pytest
import torch

# Benchmarks are scripts: Python puts their folder on the path when one is run.
sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
