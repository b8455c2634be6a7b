"""The validated study file: everything a study does follows from it."""

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import Field, ValidationInfo, field_serializer, model_validator

from loratory.spaces.confirmation import ConfirmationSpec
from loratory.spaces.data import DataSpec, EvaluationSpec
from loratory.spaces.frozen import Float, Frozen, Int
from loratory.spaces.metric_names import METRICS, Direction, Task, default_metrics
from loratory.spaces.model import ModelSpec, Quantization
from loratory.spaces.packing import PackingSpec
from loratory.spaces.pruners import PrunerName, PrunerSpec
from loratory.spaces.recorded import is_recorded
from loratory.spaces.resources import ResourceSpec
from loratory.spaces.rules import STUDY_NAME, broken_rule, did_you_mean, shown
from loratory.spaces.samplers import SamplerName, SamplerSpec
from loratory.spaces.search_space import SearchSpace
from loratory.spaces.stopping import StoppingSpec
from loratory.spaces.toy import ToySpec
from loratory.spaces.tracking import TrackingSpec
from loratory.spaces.training import OptimizerName, TrainingParameters


class ObjectiveName(StrEnum):
    """Objectives that a study file may name."""

    QLORA = "qlora"
    TOY = "toy"


class StudySpec(Frozen):
    """One study: search space, model, data, rules and resources."""

    name: str = Field(pattern=STUDY_NAME)
    """Name of the study and of its folder."""
    objective: ObjectiveName = ObjectiveName.QLORA
    """qlora fine-tunes a model; toy runs analytic curves in seconds."""
    metric: str = "rougeL"
    """The metric that is optimised, pruned on and ranked by."""
    trials: Int = Field(default=20, ge=1, le=100_000)
    """Total number of trials; COMPLETE, PRUNED, and FAIL after the last attempt count."""
    time_limit_minutes: Annotated[Float, Field(gt=0)] | None = None
    """Start no new trial after this time, summed over all runs of the study; running trials finish."""
    attempts: Int = Field(default=2, ge=1, le=100)
    """Attempts at a failing trial before it is FAIL."""
    early_stopping_patience: Annotated[Int, Field(ge=1)] | None = None
    """Stop a trial after this many evaluations without improvement; null trains to the end."""
    early_stopping: StoppingSpec | None = None
    """Another stopping rule, in place of `early_stopping_patience`."""
    seed: Int = Field(default=0, ge=0, lt=2**32)
    """Seeds the sampler and, with its number, every trial."""
    space: SearchSpace
    """The hyperparameters that are searched."""
    training: TrainingParameters = TrainingParameters()
    """The hyperparameters that are fixed."""
    model: ModelSpec | None = None
    """The base model (objective qlora)."""
    data: DataSpec | None = None
    """The examples (objective qlora)."""
    evaluation: EvaluationSpec = EvaluationSpec()
    """Times, examples and metrics of evaluations."""
    sampler: SamplerSpec = SamplerSpec()
    """Choice of points."""
    pruner: PrunerSpec = PrunerSpec()
    """Early stop of unpromising trials."""
    confirmation: ConfirmationSpec | None = None
    """Trains the best settings again on new seeds when the search is over; null does not."""
    resources: ResourceSpec = ResourceSpec()
    """Workers and their devices."""
    packing: PackingSpec = PackingSpec()
    """Trials that train at once on a worker."""
    tracking: TrackingSpec = TrackingSpec()
    """W&B and TensorBoard."""
    storage: str | None = None
    """SQLAlchemy URL of a shared Optuna storage; null keeps SQLite in the study folder."""
    toy: ToySpec | None = None
    """Settings of objective toy."""

    @model_validator(mode="before")
    @classmethod
    def _without_direction(cls, value: Any) -> Any:
        """Refuse the key `direction` of earlier versions, unless it is null, as they wrote it."""
        if not isinstance(value, Mapping) or "direction" not in value:
            return value
        if value["direction"] is not None:
            name = str(value.get("metric", cls.model_fields["metric"].default))
            metric = f" {name} ({METRICS[name].direction})" if name in METRICS else ""
            raise broken_rule(f"follows from metric{metric}; remove the key", at=("direction",))
        return {key: item for key, item in value.items() if key != "direction"}

    @model_validator(mode="after")
    def _consistent(self, info: ValidationInfo) -> Self:
        self._check_training()
        self._check_stopping()
        self._check_sections()
        self._check_metric()
        self._check_search()
        if not is_recorded(info):
            self._check_resources()
        return self

    def _check_training(self) -> None:
        for name in sorted(self.training.model_fields_set & set(self.space.root)):
            fixed = shown(getattr(self.training, name))
            rule = f"must not stand in both space and training, got {fixed}: keep one"
            raise broken_rule(rule, at=("training", name))
        self._check_optimizer()

    def _check_optimizer(self) -> None:
        section = "space" if "lora_plus_ratio" in self.space.root else "training"
        if section == "training" and "lora_plus_ratio" not in self.training.model_fields_set:
            return
        if not self._uses_lora_plus():
            rule = "must be left out where no trial has optimizer lora_plus: set training.optimizer to it"
            raise broken_rule(rule, at=(section, "lora_plus_ratio"))

    def _uses_lora_plus(self) -> bool:
        return OptimizerName.LORA_PLUS in self.extremes_of("optimizer")

    def _check_stopping(self) -> None:
        if self.early_stopping is not None and self.early_stopping_patience is not None:
            rule = "must not stand beside early_stopping_patience: keep one"
            raise broken_rule(rule, at=("early_stopping",))

    def _check_sections(self) -> None:
        qlora = self.objective is ObjectiveName.QLORA
        needed, refused = (("model", "data"), ("toy",)) if qlora else ((), ("model", "data"))
        for section in needed:
            if getattr(self, section) is None:
                raise broken_rule(f"is required for objective {self.objective} and missing", at=(section,))
        for section in refused:
            if getattr(self, section) is not None:
                raise broken_rule(
                    f"must not be there for objective {self.objective}: remove it", at=(section,)
                )

        if self.model and self.model.quantization is Quantization.NONE and self.packing.cache_base:
            rule = "must not be true with model.quantization none, which has nothing to dequantise: remove it"
            raise broken_rule(rule, at=("packing", "cache_base"))

    def _check_metric(self) -> None:
        self._check_metric_name(self.metric, ("metric",))
        for place, name in enumerate(self.evaluation.metrics or ()):
            self._check_metric_name(name, ("evaluation", "metrics", place))
        if self.evaluation.extract is not None and self.task is Task.CLASSIFICATION:
            rule = "must be left out with data.task classification, whose labels are whole answers"
            raise broken_rule(rule, at=("evaluation", "extract"), value=self.evaluation.extract)

    def _check_metric_name(self, name: str, at: tuple[str | int, ...]) -> None:
        if name not in METRICS:
            known = ", ".join(METRICS)
            hint = did_you_mean(name, METRICS)
            raise broken_rule(f"must be one of {known}, got {shown(name)}{hint}", at=at)
        if METRICS[name].needs_labels and self.data is not None and self.task is not Task.CLASSIFICATION:
            raise broken_rule(f"{name} needs labels: set data.task: classification", at=at)

    def _check_search(self) -> None:
        if self.sampler.name is SamplerName.GRID:
            for name, parameter in self.space.root.items():
                if parameter.type == "float" and parameter.step is None:
                    rule = "must have a step for sampler grid, or be a list of choices"
                    raise broken_rule(rule, at=("space", name))
        least, most = self.pruner.min_evaluations, self.evaluation.evaluations
        if self.pruner.name is not PrunerName.NONE and least > most:
            rule = f"must be <= evaluation.evaluations ({most})"
            raise broken_rule(rule, at=("pruner", "min_evaluations"), value=least)

    def _check_resources(self) -> None:
        gpus = self.resources.gpus_per_worker
        if gpus is not None and gpus > 1:
            rule = (
                f"must be at most 1, got {gpus:g}: a worker uses one GPU, the others would idle; leave the "
                "key out for a worker on every GPU, or choose a base that fits one"
            )
            raise broken_rule(rule, at=("resources", "gpus_per_worker"))

    @field_serializer("training")
    def _fixed_only(self, training: TrainingParameters) -> dict[str, Any]:
        # A searched hyperparameter has no fixed value: a file written from this spec must load again.
        unused = set() if self._uses_lora_plus() else {"lora_plus_ratio"}
        return training.model_dump(mode="json", exclude={*self.space.root, *unused})

    @property
    def stopping(self) -> StoppingSpec | None:
        """The stopping rule; null trains every trial to its end."""
        if self.early_stopping_patience is not None:
            return StoppingSpec(patience=self.early_stopping_patience)
        return self.early_stopping

    @property
    def task(self) -> Task:
        """The task of the data; generation without data."""
        return self.data.task if self.data else Task.GENERATION

    def extremes_of(self, name: str) -> tuple[Any, ...]:
        """Return values of a hyperparameter that bound all trials: ends or choices, or its fixed value."""
        searched = self.space.root
        return searched[name].extremes() if name in searched else (getattr(self.training, name),)

    @property
    def metrics(self) -> tuple[str, ...]:
        """All metrics of decoded text, the study's metric first."""
        chosen = self.evaluation.metrics or default_metrics(self.task)
        return tuple(dict.fromkeys(name for name in (self.metric, *chosen) if name != "loss"))

    @property
    def metric_direction(self) -> Direction:
        """Which values of the study's metric are better."""
        return METRICS[self.metric].direction

    def with_workers(self, count: int) -> Self:
        """Return the study as it runs on so many workers."""
        resources = self.resources.model_copy(update={"workers": count})
        return self.model_copy(update={"resources": resources})

    def without_secrets(self) -> Self:
        """Return the study with the password of its storage masked, to be written or sent."""
        if self.storage is None:
            return self
        covered = re.sub(r"://([^:/@]*):[^@]*@", r"://\1:***@", self.storage)
        return self.model_copy(update={"storage": covered})

    def resolve(self, sampled: dict[str, Any]) -> TrainingParameters:
        """Merge sampled values, as the study file writes them, over the fixed values."""
        return TrainingParameters.model_validate({**self.training.model_dump(), **sampled})
