import threading
import time
from collections.abc import Sequence

import pytest

from loratory.objectives.events import Decision, Event, Ready, Score, Scored, Split
from loratory.objectives.objective import ObjectiveKind, Prepared
from loratory.objectives.records import Resources
from loratory.objectives.scores import ScoreTable
from loratory.search.executors.host import WorkerHost
from loratory.spaces.errors import InputError


class SlowScorer:
    """Scores over several calls, without an event in between."""

    slots = 1

    def __init__(self) -> None:
        self.calls = 0
        self.score: Score | None = None

    def advance(self, decisions: Sequence[Decision]) -> list[Event]:
        self.calls += 1
        if self.calls == 1:
            return [Ready(device="d", compute_dtype="fp32")]
        self.score = next(iter(decisions), self.score)
        if self.calls != 6:
            return []
        table = ScoreTable(
            example_ids=(), groups=(), metrics={}, statistics={}, signatures={}, aggregate={"loss": 1.0}
        )
        return [Scored(key="base", split=Split.SELECT, scores=table, predictions=(), resources=Resources())]


def test_a_scoring_that_takes_several_calls_is_not_taken_for_idleness(toy_study, monkeypatch):
    kind = ObjectiveKind(prepare=lambda *_: Prepared(), build=lambda *_: SlowScorer())
    monkeypatch.setattr("loratory.search.executors.host.objective_kind", lambda _: kind)
    host = WorkerHost(toy_study(), Prepared())
    events = list(host.exchange([], 5.0).events)
    events += host.exchange([Score(key="base", split=Split.SELECT)], 5.0).events
    host.close()
    assert [type(event) for event in events] == [Ready, Scored]


def test_a_worker_imports_before_it_knows_what_was_prepared(toy_study, monkeypatch):
    done, imported = [], threading.Event()
    kind = ObjectiveKind(
        prepare=lambda *_: Prepared(),
        build=lambda _, prepared: done.append(prepared.payload) or SlowScorer(),
        import_for_build=imported.set,
    )
    monkeypatch.setattr("loratory.search.executors.host.objective_kind", lambda _: kind)
    host = WorkerHost(toy_study())
    assert imported.wait(30)
    assert host.exchange([], 0.1).events == ()
    assert done == []
    assert host.begin(Prepared(payload="data")).broken is None
    assert [type(event) for event in host.exchange([], 30.0).events] == [Ready]
    host.close()
    assert done == ["data"]


@pytest.mark.parametrize("fails", [False, True])
def test_what_a_worker_loads_early_is_there_when_it_builds(fails, toy_study, monkeypatch):
    given, early = [], threading.Event()

    def load_early(_):
        early.set()
        if fails:
            raise InputError("model.base: no such folder")
        return "base"

    kind = ObjectiveKind(
        prepare=lambda *_: Prepared(),
        build=lambda _, prepared: given.append(prepared.early) or SlowScorer(),
        load_early=load_early,
    )
    monkeypatch.setattr("loratory.search.executors.host.objective_kind", lambda _: kind)
    host = WorkerHost(toy_study())
    assert early.wait(30) and given == []
    host.begin(Prepared())
    assert [type(event) for event in host.exchange([], 30.0).events] == [Ready]
    host.close()
    assert given == [None if fails else "base"]


def test_a_worker_whose_libraries_are_missing_says_so(toy_study, monkeypatch):
    def missing():
        raise ImportError("no module named bitsandbytes")

    kind = ObjectiveKind(
        prepare=lambda *_: Prepared(), build=lambda *_: SlowScorer(), import_for_build=missing
    )
    monkeypatch.setattr("loratory.search.executors.host.objective_kind", lambda _: kind)
    reply = WorkerHost(toy_study()).exchange([], 30.0)
    assert reply.broken is not None
    assert reply.broken.startswith("ImportError: no module named bitsandbytes")
    assert not reply.refused


def test_a_worker_that_refuses_the_study_says_what_to_change_and_nothing_else(toy_study, monkeypatch):
    def build(*_):
        raise InputError("packing.slots: must be at most 3, got 9")

    kind = ObjectiveKind(prepare=lambda *_: Prepared(), build=build)
    monkeypatch.setattr("loratory.search.executors.host.objective_kind", lambda _: kind)
    reply = WorkerHost(toy_study(), Prepared()).exchange([], 30.0)
    assert (reply.broken, reply.refused) == ("packing.slots: must be at most 3, got 9", True)


@pytest.mark.parametrize("begun", [False, True])
def test_a_worker_that_is_closed_while_it_imports_loads_nothing(begun, toy_study, monkeypatch):
    go_on, built = threading.Event(), []
    kind = ObjectiveKind(
        prepare=lambda *_: Prepared(),
        build=lambda *_: built.append(1) or SlowScorer(),
        import_for_build=lambda: go_on.wait(30),
    )
    monkeypatch.setattr("loratory.search.executors.host.objective_kind", lambda _: kind)
    host = WorkerHost(toy_study())
    if begun:
        host.begin(Prepared())
    closing = threading.Thread(target=host.close)
    closing.start()
    while not host._closing:
        time.sleep(0.01)
    go_on.set()
    closing.join(30)
    assert not closing.is_alive()
    assert built == []
