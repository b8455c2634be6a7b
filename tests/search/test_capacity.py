import pytest

from loratory.search.executors.capacity import WorkerShape, count_workers
from loratory.spaces import InputError
from loratory.spaces.resources import ResourceSpec


@pytest.mark.parametrize(
    ("wanted", "nodes", "expected"),
    [
        ({}, [{"CPU": 2}], (WorkerShape(0, 1), 2)),
        ({}, [{"CPU": 16, "GPU": 4}], (WorkerShape(1, 1), 4)),
        ({}, [{"CPU": 16, "GPU": 4}, {"CPU": 8}], (WorkerShape(1, 1), 4)),
        ({"gpus_per_worker": 0.25}, [{"CPU": 16, "GPU": 1}], (WorkerShape(0.25, 1), 4)),
        ({"gpus_per_worker": 1 / 3}, [{"CPU": 16, "GPU": 1}], (WorkerShape(1 / 3, 1), 3)),
        ({"gpus_per_worker": 2}, [{"CPU": 16, "GPU": 3}, {"CPU": 16, "GPU": 3}], (WorkerShape(2, 1), 2)),
        ({"cpus_per_worker": 4}, [{"CPU": 6}, {"CPU": 9}], (WorkerShape(0, 4), 3)),
        ({"workers": 1}, [{"CPU": 8}], (WorkerShape(0, 1), 1)),
    ],
)
def test_workers_that_fit(wanted, nodes, expected):
    assert count_workers(ResourceSpec(**wanted), nodes) == expected


@pytest.mark.parametrize(
    ("wanted", "nodes", "rule"),
    [
        ({"gpus_per_worker": 1}, [{"CPU": 2}], "a worker of 1 GPUs and 1 CPUs must fit a node"),
        ({"gpus_per_worker": 4}, [{"CPU": 9, "GPU": 2}, {"CPU": 9, "GPU": 2}], "largest has 2 GPUs"),
        ({"cpus_per_worker": 64}, [{"CPU": 2}], "largest has 0 GPUs and 2 CPUs"),
        ({"workers": 3}, [{"CPU": 2}], "resources.workers must be at most 2"),
    ],
)
def test_what_fits_nowhere_is_an_error_and_no_silent_wait(wanted, nodes, rule):
    with pytest.raises(InputError, match=rule):
        count_workers(ResourceSpec(**wanted), nodes)
