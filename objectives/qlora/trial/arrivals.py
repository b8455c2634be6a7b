"""Trials that are being made: threads draw their adapters while the pack trains."""

from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import replace

from loratory.objectives.events import Start
from loratory.objectives.packing.slot_copy import SlotState
from loratory.objectives.qlora.adapters.adapter import new_adapter
from loratory.objectives.qlora.base.architecture import Architecture
from loratory.objectives.qlora.trial.checkpoint import read_checkpoint
from loratory.objectives.qlora.trial.phases import Waiting
from loratory.objectives.qlora.trial.plan import Plan
from loratory.objectives.qlora.trial.trial import Selection, Trial
from loratory.spaces.trial import TrialSpec

# A pack with fewer trials needs other CUDA graphs; to capture them takes about as long as this wait.
_SECONDS_FOR_COMPANY = 1.0


class Arrivals:
    """Trials that were started but are not ready; drawing a large adapter takes about 1 s."""

    def __init__(
        self,
        architecture: Architecture,
        selection: Selection,
        *,
        train_examples: int,
        evaluations: int,
        threads: int,
    ) -> None:
        """Start without trials.

        Args:
            architecture: the base's layers.
            selection: how trials choose among their measurements.
            train_examples: number of training examples.
            evaluations: points on the nominal grid.
            threads: number of adapters made at once.
        """
        self._architecture, self._selection = architecture, selection
        self._train_examples, self._evaluations = train_examples, evaluations
        self._coming: dict[str, tuple[TrialSpec, Future[Trial]]] = {}
        self._makers = ThreadPoolExecutor(threads, thread_name_prefix="adapters")

    def __len__(self) -> int:
        """Return the number of trials that are not ready."""
        return len(self._coming)

    def expect(self, start: Start) -> None:
        """Start making a trial in a thread."""
        made = self._makers.submit(
            new_trial,
            start,
            architecture=self._architecture,
            selection=self._selection,
            train_examples=self._train_examples,
            evaluations=self._evaluations,
        )
        self._coming[start.trial.key] = start.trial, made

    def cancel(self, key: str, attempt: int) -> None:
        """Remove a trial that was stopped before it was ready; do nothing if it is not here."""
        if (coming := self._coming.get(key)) is not None and coming[0].attempt == attempt:
            coming[1].cancel()
            del self._coming[key]

    def arrived(self, *, awaited: int) -> list[tuple[TrialSpec, Trial | Exception]]:
        """Return trials that are ready, or the exceptions from making them, each once.

        Args:
            awaited: number of trials to wait for, at most one second after the first.
        """
        coming = [made for _, made in self._coming.values()][:awaited]
        wait(coming, return_when=FIRST_COMPLETED)
        wait(coming, timeout=_SECONDS_FOR_COMPANY)
        arrived: list[tuple[TrialSpec, Trial | Exception]] = []
        for key, (trial, made) in list(self._coming.items()):
            if made.done():
                del self._coming[key]
                arrived.append((trial, made.exception() or made.result()))  # type: ignore[arg-type]
        return arrived


def new_trial(
    start: Start, *, architecture: Architecture, selection: Selection, train_examples: int, evaluations: int
) -> Trial:
    """Make a trial that waits for a slot, before its first update or where its checkpoint left it.

    Args:
        start: the trial, and a checkpoint where it goes on.
        architecture: the base's layers.
        selection: how it chooses among its measurements.
        train_examples: how many there are.
        evaluations: points on the nominal grid.

    Raises:
        LoratoryError: the checkpoint is another trial's.
    """
    spec = start.trial
    adapter = new_adapter(
        architecture.linear_layers,
        training=spec.training,
        targets=architecture.targets(spec.training.target_modules),
        seed=spec.seed,
        auto_mapping=architecture.auto_mapping,
    )
    names = {name: matrix.to("meta") for name, matrix in adapter.state.items()}
    trial = Trial(
        spec=spec,
        plan=Plan(
            training=spec.training, seed=spec.seed, train_examples=train_examples, evaluations=evaluations
        ),
        adapter=replace(adapter, state=names),
        selection=selection,
        phase=Waiting(SlotState(matrices=adapter.state)),
    )
    if start.checkpoint is not None:
        trial.resume(read_checkpoint(spec, start.checkpoint))
    return trial
