import time
from collections import Counter
from dataclasses import replace

import pytest
from memory_faults import Allocations

from loratory.objectives.events import Failed, Finished, Start

SPACE = {"weight_decay": [0.0, 0.1], "rank": [2, 4]}
TRIALS = ({"batch_size": 4, "dropout": 0.3, "rank": 4}, {"batch_size": 3, "rank": 2, "epochs": 0.8})


@pytest.fixture(scope="module")
def few(make_examples, data):
    return replace(data, train=make_examples(8, 0), dev=make_examples(2, 1), select=make_examples(3, 2))


@pytest.fixture(scope="module")
def make_small(make_study, make_objective, few):
    def make(**packing):
        study = make_study(
            space=SPACE,
            training={"epochs": 1.0},
            metric="exact_match",
            evaluation={"evaluations": 2, "dev_examples": 2, "max_new_tokens": 3, "metrics": ["exact_match"]},
            packing={"slots": 2, "tokens_per_pass": 200, **packing},
        )
        return make_objective(study, few)

    return make


@pytest.fixture(scope="module")
def starts(make_study, make_trial):
    study = make_study(space=SPACE, training={"epochs": 1.0})
    return [Start(trial=make_trial(study, number, **options)) for number, options in enumerate(TRIALS)]


def run(objective, starts):
    events, ended = list(objective.advance(starts)), 0
    for _ in range(500):
        if sum(isinstance(event, Finished | Failed) for event in events) == len(starts):
            return events
        events += objective.advance(())
    raise AssertionError("the trials did not end")


def test_explore(make_small, starts):
    t = time.perf_counter()
    make_small()
    print("build", time.perf_counter() - t)
    objective = make_small()
    t = time.perf_counter()
    run(objective, starts)
    print("plain", time.perf_counter() - t)
    objective = make_small()
    mode = Allocations()
    t = time.perf_counter()
    with mode:
        events = run(objective, starts)
    print("mode", time.perf_counter() - t)
    works = Counter()
    for s, n in mode.seen.items():
        works[s.work] += 1
    print(len(mode.seen), sum(mode.seen.values()), works)
    for site, n in sorted(mode.seen.items()):
        print(n, site)
