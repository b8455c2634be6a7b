"""The interface of an objective, which runs on a worker, and the registry of its kinds."""

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol, Self

from loratory.objectives.events import Decision, Event
from loratory.objectives.records import Check
from loratory.spaces.study import ObjectiveName, StudySpec


class Objective(Protocol):
    """Trials in slots over one base. Only one thread calls it, so it needs no lock."""

    capacity: int
    """Number of trials accepted at once."""

    def advance(self, decisions: Sequence[Decision]) -> list[Event]:
        """Carry out decisions, then do a small unit of work (at most about 1 s) for all slots.

        Decisions are carried out in order: a `Start` may use the place that an earlier `Stop` freed. Starts
        never exceed the free capacity, and a `Score` comes only while no trial holds a place. The events of
        the first call begin with `Ready`, which states the capacity. Without work it returns at once with no
        events. An exception means that the whole worker is broken; an error of one trial is a `Failed`
        event.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Beginning:
    """Facts of a study, other than its file, that its preparation depends on.

    Attributes:
        created_at: UTC time at which the study began, ISO 8601; chat templates that state the date use it.
        cache: folder for what need not be prepared again on resume; None keeps nothing.
    """

    created_at: str
    cache: Path | None = None

    @classmethod
    def now(cls) -> Self:
        """Return the beginning of a study that begins now and keeps nothing."""
        return cls(created_at=datetime.now(UTC).isoformat(timespec="seconds"))


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """Result of the driver's preparation, sent to each worker once, before it loads the base.

    Attributes:
        payload: input of `build`; must be picklable.
        hashes: content hashes by name (`data`, `base`), recorded and compared on resume.
        summary: lines for the terminal on the data read and the rows that cleaning removed.
        files: contents of files for the study folder's data/, by name.
        splits: number of examples in each split, by name; None if the objective has none.
        has_base: whether there is an untuned base to score before the first trial.
        has_confirm: whether there is a part of eval to score the best trials on at the end.
        has_test: whether there is a test split to score the winner on at the end.
        checks: what was asked of the base; `passed` is None where only a worker can tell.
        shown: lines for `loratory check`: rendered rows, lengths, columns.
        early: what `load_early` returned on this worker; None on the driver.
    """

    payload: Any = None
    hashes: dict[str, str] = field(default_factory=dict)
    summary: tuple[str, ...] = ()
    files: dict[str, bytes] = field(default_factory=dict)
    splits: dict[str, int] | None = None
    has_base: bool = False
    has_confirm: bool = False
    has_test: bool = False
    checks: tuple[Check, ...] = ()
    shown: tuple[str, ...] = ()
    early: Any = None


@dataclass(frozen=True, kw_only=True)
class ObjectiveKind:
    """Functions that construct one kind of objective.

    Attributes:
        check: runs on the driver before workers start and before `prepare`, without large imports.
        prepare: runs on the driver; reads and checks input, loads no model weights.
        build: runs on a worker; loads the base.
        import_for_prepare: runs in a thread of the driver before `prepare`, to make it faster.
        import_for_build: runs on a worker before `build`, while the driver prepares.
        load_early: runs on a worker after that, likewise, and loads what `build` will need: it gets what this
            returns as `Prepared.early`. Where it raises, `build` meets the cause again, and tells it.
        trial_bytes: device memory, in bytes, of one trial with these hyperparameters (fields of
            `TrainingParameters`, sampled and fixed): adapter and optimiser state in the smallest arrangement.
            Runs on the driver, some hundred times before the first trial and once per trial, so it must be
            quick. None: nothing is predicted, and every point of the space is tried.
    """

    prepare: Callable[[StudySpec, Beginning], Prepared]
    build: Callable[[StudySpec, Prepared], Objective]
    check: Callable[[StudySpec], None] = lambda _: None
    import_for_prepare: Callable[[], None] = lambda: None
    import_for_build: Callable[[], None] = lambda: None
    load_early: Callable[[StudySpec], Any] = lambda _: None
    trial_bytes: Callable[[StudySpec, Prepared, Mapping[str, Any]], int] | None = None


OBJECTIVES = {
    ObjectiveName.QLORA: "loratory.objectives.qlora.kind:QLORA",
    ObjectiveName.TOY: "loratory.objectives.toy:TOY",
}


def objective_kind(name: ObjectiveName) -> ObjectiveKind:
    """Return the kind registered under `name`; heavy libraries are imported only here."""
    module, _, attribute = OBJECTIVES[name].partition(":")
    kind: ObjectiveKind = getattr(importlib.import_module(module), attribute)
    return kind
