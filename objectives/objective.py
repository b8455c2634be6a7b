"""The interface of what runs on a worker, and the registry of its kinds."""

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from loratory.objectives.events import Decision, Event
from loratory.spaces.study import ObjectiveName, StudySpec


class Objective(Protocol):
    """Trials in slots over one base. One thread calls it; nothing in it needs a lock."""

    capacity: int
    """Trials accepted at once."""

    def advance(self, decisions: Sequence[Decision]) -> list[Event]:
        """Carry out decisions, then do a small piece of work (at most about a second) for every slot.

        Decisions are carried out in their order: a `Start` may take the slot that a `Stop` before it gave
        back. Starts never exceed the free slots, and a `Score` comes only where no trial holds one. The first
        call's events begin with `Ready`, which says how many slots there are. With nothing to do
        it returns at once with no events. An exception means that the worker as a whole is broken; what
        goes wrong within one trial is a `Failed` event.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """What the driver made ready before any worker loads its base. Sent to each worker once.

    Attributes:
        payload: what `build` needs; must pickle.
        hashes: content hashes by name (`data`, `base`), recorded and compared on resume.
        summary: lines for the terminal: what was read, and what cleaning removed.
        files: for the study folder's data/, by name.
        splits: examples in each split, by name; null where the objective has none.
        has_base: there is an untuned base to score before the first trial.
        has_test: there is a test split to score the winner on at the end.
    """

    payload: Any = None
    hashes: dict[str, str] = field(default_factory=dict)
    summary: tuple[str, ...] = ()
    files: dict[str, bytes] = field(default_factory=dict)
    splits: dict[str, int] | None = None
    has_base: bool = False
    has_test: bool = False


@dataclass(frozen=True, kw_only=True)
class ObjectiveKind:
    """How one kind of objective is made.

    Attributes:
        check: runs on the driver before workers start and before `prepare`, without large imports.
        prepare: runs on the driver: reads and checks input, loads no model weights.
        build: runs on a worker: loads the base.
        import_for_prepare: runs in a thread of the driver before `prepare`, which then takes less time.
        import_for_build: the same on a worker before `build`, while the driver prepares.
    """

    prepare: Callable[[StudySpec], Prepared]
    build: Callable[[StudySpec, Prepared], Objective]
    check: Callable[[StudySpec], None] = lambda _: None
    import_for_prepare: Callable[[], None] = lambda: None
    import_for_build: Callable[[], None] = lambda: None


OBJECTIVES = {
    ObjectiveName.QLORA: "loratory.objectives.qlora.kind:QLORA",
    ObjectiveName.TOY: "loratory.objectives.toy:TOY",
}


def objective_kind(name: ObjectiveName) -> ObjectiveKind:
    """The kind registered under `name`; heavy libraries are imported only now."""
    module, _, attribute = OBJECTIVES[name].partition(":")
    kind: ObjectiveKind = getattr(importlib.import_module(module), attribute)
    return kind
