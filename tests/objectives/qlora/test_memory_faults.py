"""Memory that ends at any one allocation costs no trial, and changes no result beyond rounding."""

import random
from collections import defaultdict
from dataclasses import replace

import pytest
import safetensors.torch
from memory_faults import Allocations

from loratory.objectives.events import Failed, Finished, Progressed, Reported, Start
from loratory.objectives.qlora.relief import Need
from loratory.objectives.records import FailureKind

SPACE = {"weight_decay": [0.0, 0.1], "rank": [2, 4]}
TRIALS = ({"batch_size": 4, "dropout": 0.3, "rank": 4}, {"batch_size": 3, "rank": 2, "epochs": 0.8})
NEEDS = {
    "training": Need.PASS,
    "scoring": Need.SCORING,
    "placing": Need.ADAPTER,
    "saving": Need.COPY,
}
KINDS_OF_WORK = tuple(NEEDS)
USES = 3  # errors that the arrangement of these tests can take


@pytest.fixture(scope="module")
def few(make_examples, data):
    return replace(data, train=make_examples(6, 0), dev=make_examples(1, 1), select=make_examples(2, 2))


@pytest.fixture(scope="module")
def make_small(make_study, make_objective, few):
    def make():
        study = make_study(
            space=SPACE,
            training={"epochs": 1.0},
            metric="exact_match",
            evaluation={
                "evaluations": 2,
                "dev_examples": 1,
                "max_new_tokens": 3,
                "metrics": ["exact_match"],
            },
            packing={"slots": 2, "tokens_per_pass": 200},
        )
        return make_objective(study, few)

    return make


@pytest.fixture(scope="module")
def starts(make_study, make_trial):
    study = make_study(space=SPACE, training={"epochs": 1.0})
    return [Start(trial=make_trial(study, number, **options)) for number, options in enumerate(TRIALS)]


def run(objective, starts):
    """Events of all trials to their ends, by trial."""
    events = defaultdict(list)
    decisions = starts
    for _ in range(500):
        for event in objective.advance(decisions):
            events[getattr(event, "key", None)].append(event)
        decisions = ()
        if all(isinstance((events[s.trial.key] or [None])[-1], Finished | Failed) for s in starts):
            return {start.trial.key: events[start.trial.key] for start in starts}
    raise AssertionError("the trials did not end")


@pytest.fixture(scope="module")
def undisturbed(make_small, starts):
    """Allocations by site, and events by trial, where memory never ends."""
    objective = make_small()
    with Allocations() as allocations:
        events = run(objective, starts)
    return allocations.seen, events


def disturbed(objective, starts, refuse):
    """Events of all trials where some allocations are refused; None where none of these was asked for."""
    with Allocations(refuse) as allocations:
        events = run(objective, starts)
    return events if allocations.refused else None


def assert_same(got, wanted):
    for key, theirs in wanted.items():
        mine = got[key]
        assert isinstance(mine[-1], Finished), mine[-1]
        for values in (losses, dev_scores):
            assert values(mine) == pytest.approx(values(theirs), rel=1e-4)
        assert mine[-1].best_step == theirs[-1].best_step
        assert mine[-1].scores.aggregate == pytest.approx(theirs[-1].scores.aggregate, rel=1e-4)
        first, second = matrices(mine[-1]), matrices(theirs[-1])
        for name, matrix in second.items():
            assert (first[name] - matrix).norm() <= 2e-3 * matrix.norm(), name


def matrices(finished):
    return safetensors.torch.load(finished.adapter["adapter_model.safetensors"])


def losses(events):
    return [point.loss for event in events if isinstance(event, Progressed) for point in event.points]


def dev_scores(events):
    return [event.measurement.metrics["loss"] for event in events if isinstance(event, Reported)]


def once(site, number=1):
    return lambda seen, count: seen == site and count == number


def test_memory_that_ends_costs_no_trial_unless_it_never_suffices(make_small, starts, undisturbed):
    seen, wanted = undisturbed
    objective, draw = make_small(), random.Random(0)
    for work in KINDS_OF_WORK:
        site = draw.choice(sorted(site for site in seen if site.work == work))
        events = disturbed(objective, starts, once(site))
        assert events is not None
        assert_same(events, wanted)
    assert_never_suffices(objective, starts, "training")


def assert_never_suffices(objective, starts, work):
    """All trials end as infeasible where no allocation of some work ever succeeds, and say for what."""
    events = disturbed(objective, starts, lambda site, _: site.work == work)
    assert events is not None
    for mine in events.values():
        assert isinstance(mine[-1], Failed) and mine[-1].kind is FailureKind.OOM
        assert f"no memory for {NEEDS[work]}" in mine[-1].message


@pytest.mark.chaos
@pytest.mark.parametrize("work", KINDS_OF_WORK)
def test_memory_that_never_suffices_is_infeasible_and_says_for_what(make_small, starts, work):
    assert_never_suffices(make_small(), starts, work)


@pytest.fixture(scope="module")
def built(make_small):
    """Allocations by site while a worker builds its engine."""
    with Allocations() as allocations:
        make_small()
    return {site: count for site, count in allocations.seen.items() if site.work == "building"}


def built_within(make_small, refuse):
    with Allocations(refuse) as allocations:
        objective = make_small()
    assert allocations.refused
    return objective


def test_memory_that_ends_while_the_engine_is_built_makes_it_smaller(make_small, starts, undisturbed, built):
    site = random.Random(1).choice(sorted(built))
    objective = built_within(make_small, once(site))
    assert objective._engine.arrangement.decoding_rows < 32
    assert_same(run(objective, starts), undisturbed[1])


@pytest.mark.chaos
def test_memory_that_ends_anywhere_while_the_engine_is_built_makes_it_smaller(
    make_small, starts, undisturbed, built
):
    wrong = {}
    for site in sorted(built):
        try:
            assert_same(run(built_within(make_small, once(site)), starts), undisturbed[1])
        except Exception as error:
            wrong[site] = f"{type(error).__name__}: {error}"[:300]
    assert not wrong, "\n".join(f"{site}: {error}" for site, error in wrong.items())


@pytest.mark.chaos
@pytest.mark.parametrize("work", KINDS_OF_WORK)
def test_memory_that_ends_at_any_allocation_costs_no_trial(make_small, starts, undisturbed, work):
    seen, wanted = undisturbed
    wrong = {}
    objective, uses = None, 0
    for site, count in sorted(seen.items()):
        for number in sorted({1, 1 + count // 2}) if site.work == work else ():
            if objective is None or uses == USES:  # each error makes it smaller
                objective, uses = make_small(), 0
            uses += 1
            refuse = once(site, number)
            try:
                events = disturbed(objective, starts, refuse)
                if events is None:  # what earlier runs of this objective allocated is there
                    objective, uses = make_small(), 1
                    events = disturbed(objective, starts, refuse)
                assert events is not None
                assert_same(events, wanted)
            except Exception as error:
                wrong[site, number] = f"{type(error).__name__}: {error}"[:300]
                objective = None
    assert not wrong, "\n".join(f"{site}: {error}" for site, error in wrong.items())
