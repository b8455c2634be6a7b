"""The plan of a study: what it will take on a GPU, as values that views print."""

from dataclasses import asdict, dataclass
from typing import Any

from loratory.objectives.qlora.memory.afterwards import PlannedAfterwards
from loratory.objectives.qlora.memory.devices import Gpu
from loratory.objectives.qlora.memory.disk import DiskBytes
from loratory.objectives.qlora.memory.durations import StudyDurations
from loratory.objectives.qlora.memory.engine_size import EngineSize
from loratory.objectives.qlora.memory.terms import MemoryTerms


@dataclass(frozen=True, kw_only=True)
class PlannedBase:
    """The base as the plan knows it.

    Attributes:
        name: as the study file gives it.
        sizes_from: where its sizes were found.
        quantization: number format of the linear layers.
        compute_dtype: number format of activations.
        stored_bytes: the base in memory.
        held_bytes: its linear layers dequantised; 0 where there is nothing to dequantise.
        counted: whether activations were counted on its layers; False: they are a guess.
    """

    name: str
    sizes_from: str
    quantization: str
    compute_dtype: str
    stored_bytes: int
    held_bytes: int
    counted: bool


@dataclass(frozen=True, kw_only=True)
class PlannedData:
    """The examples as the plan knows them.

    Attributes:
        source: phrase on what is known: read, sampled, or every sequence at the longest.
        known: whether numbers of examples are those of the data; False: those that a plan assumes.
        train: training examples.
        dev: eval examples of each evaluation.
        select: eval examples that rank trials.
        confirm: eval examples that choose among the best at the end; 0 without such a part.
        test: test examples; 0 without a test split. Where it is not read, as many as select.
        mean_tokens: mean length of training examples.
        longest_tokens: length of the longest.
    """

    source: str
    known: bool
    train: int
    dev: int
    select: int
    mean_tokens: float
    longest_tokens: int
    confirm: int = 0
    test: int = 0


@dataclass(frozen=True, kw_only=True)
class PlannedTrial:
    """A trial alone in the smallest arrangement.

    Attributes:
        params: its searched values that memory depends on.
        terms: its memory.
    """

    params: dict[str, Any]
    terms: MemoryTerms


@dataclass(frozen=True, kw_only=True)
class PlannedSpace:
    """Memory over the search space, of trials alone in the smallest arrangement.

    Attributes:
        smallest: the trial with the smallest adapter.
        largest: the trial with the largest.
        sampled: number of points drawn at random.
        quartiles: least, quarter, half, three quarters and most memory among them, in bytes.
        infeasible_share: share of the points that cannot fit; None without a GPU.
        infeasible: parameter values that cannot fit, as phrases.
    """

    smallest: PlannedTrial
    largest: PlannedTrial
    sampled: int
    quartiles: tuple[int, ...]
    infeasible_share: float | None
    infeasible: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class PlannedWorker:
    """A GPU, and the arrangement of a worker on it.

    Attributes:
        gpu: the GPU.
        usable_bytes: its memory less the reserve.
        size: the arrangement; None where not even the smallest trial fits.
        terms: its memory, or that of the smallest trial.
        durations: of all trials; None where speed is unknown or nothing fits.
    """

    gpu: Gpu
    usable_bytes: int
    size: EngineSize | None
    terms: MemoryTerms
    durations: StudyDurations | None


@dataclass(frozen=True, kw_only=True)
class StudyPlan:
    """The plan of a study.

    Attributes:
        study: its name.
        trials: number of trials.
        gpus: number of GPUs.
        base: the base.
        data: the examples.
        space: memory over the search space.
        worker: on the GPU that is asked for or here; None without one.
        common: on GPUs of common sizes, where no GPU is named.
        afterwards: work besides the trials.
        disk: bytes of the study folder; with the running trials of `gpus` workers.
        smallest_difference: between two scores that the eval split can tell apart, as a share of the score.
        notes: lines on what the plan guesses, changes or cannot know.
    """

    study: str
    trials: int
    gpus: int
    base: PlannedBase
    data: PlannedData
    space: PlannedSpace
    worker: PlannedWorker | None
    common: tuple[PlannedWorker, ...]
    afterwards: PlannedAfterwards
    disk: DiskBytes
    smallest_difference: float
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the plan as JSON values, with the sums that views show."""
        plan = asdict(self)
        plan["disk"]["total"] = self.disk.total
        workers = [(plan["worker"], self.worker), *zip(plan["common"], self.common, strict=True)]
        for written, worker in workers:
            if worker is not None:
                written["terms"]["total"] = worker.terms.total
                written["durations"] = _durations(worker.durations, self.gpus)
        for name in ("smallest", "largest"):
            plan["space"][name]["terms"]["total"] = getattr(self.space, name).terms.total
        return plan


def _durations(durations: StudyDurations | None, gpus: int) -> dict[str, float] | None:
    if durations is None:
        return None
    return {
        "seconds_per_trial": durations.seconds_per_trial,
        "training_seconds": durations.training_seconds,
        "scoring_seconds": durations.scoring_seconds,
        "retraining_seconds": durations.retraining_seconds,
        "closing_seconds": durations.closing_seconds,
        "seconds": durations.seconds(gpus),
        "gpu_hours": durations.gpu_seconds(gpus) / 3600,
    }
