"""Construction of the QLoRA objective: checks on the driver without weights, and the build on a worker."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from loratory.objectives.data.prepared import PreparedData
from loratory.objectives.data.sources import check_files
from loratory.objectives.metrics.requirements import check_metrics
from loratory.objectives.objective import Beginning, Objective, ObjectiveKind, Prepared
from loratory.objectives.qlora.base.architecture import (
    Architecture,
    read_architecture,
    read_tokenizer,
)
from loratory.objectives.qlora.base.reference import (
    BaseReference,
    base_sha256,
    resolve_base,
    tokenizer_sha256,
)
from loratory.spaces.errors import InputError, LoratoryError
from loratory.spaces.model import ModelSpec
from loratory.spaces.study import StudySpec


@dataclass(frozen=True, kw_only=True)
class QloraInput:
    """Input of a worker besides the study.

    Attributes:
        data: the splits.
        reference: the base, which each worker locates on its machine.
        numbers_per_rank: numbers of an adapter per rank, over all layers that trials may adapt.
    """

    data: PreparedData
    reference: BaseReference
    numbers_per_rank: int = 0


def model_spec(study: StudySpec) -> ModelSpec:
    """Return the study's model section, which every study of this objective has."""
    if study.model is None:
        raise InputError("objective qlora needs a section model")
    return study.model


def check(study: StudySpec) -> None:
    """Refuse missing files and packages before libraries are imported and Ray starts.

    Raises:
        InputError: a data file, or what a metric needs, is missing.
    """
    if study.data is not None:
        check_files(study.data)
    check_metrics(study)


def prepare(study: StudySpec, beginning: Beginning) -> Prepared:
    """Check base, target modules, ranks and data, and return them prepared for the workers.

    Args:
        study: the study.
        beginning: facts of the study that are not in its file.

    Raises:
        InputError: base, target modules, rank or data are invalid.
    """
    from loratory.objectives.data.cached_preparation import prepare_cached
    from loratory.objectives.qlora.base.checks.driver import check_base
    from loratory.objectives.qlora.base.checks.vocabulary import check_vocabulary
    from loratory.objectives.qlora.memory.engine_size import stack_size
    from loratory.objectives.qlora.memory.ranks import numbers_per_rank

    reference = resolve_base(model_spec(study))
    with ThreadPoolExecutor(1, thread_name_prefix="base") as hashing:
        hashed = hashing.submit(base_sha256, reference)  # reads all weights meanwhile
        architecture = _architecture(study, reference)
        checks = check_base(study, architecture, reference)
        tokenizer = read_tokenizer(reference)
        prepared = prepare_cached(
            study,
            tokenizer,
            cache=beginning.cache,
            tokenizer_sha256=tokenizer_sha256(reference),
            max_positions=architecture.max_positions,
            created_at=beginning.created_at,
        )
    checks = (*checks, check_vocabulary(prepared.data, architecture, tokenizer))
    return Prepared(
        payload=QloraInput(
            data=prepared.data,
            reference=reference,
            numbers_per_rank=numbers_per_rank(stack_size(study, architecture).layers),
        ),
        hashes={"data": prepared.data.sha256, "base": hashed.result()},
        summary=(*architecture.notes, *prepared.summary),
        files=prepared.files,
        splits=_sizes(prepared.data),
        has_base=True,
        has_confirm=bool(prepared.data.confirm),
        has_test=bool(prepared.data.test),
        checks=checks,
        shown=prepared.shown,
    )


@dataclass(frozen=True, kw_only=True)
class EarlyBase:
    """A base that was loaded while the driver prepared the study.

    Attributes:
        reference: the base as this worker found it.
        base: the same, loaded.
    """

    reference: BaseReference
    base: Any


def load_early(study: StudySpec, *, on_cpu: bool = False) -> EarlyBase | None:
    """Load a base whose weights are on this machine, while the driver prepares the data.

    Args:
        study: the study.
        on_cpu: load it on a CPU too, where the driver would miss cores and memory meanwhile.

    Returns:
        The base; None where it is to be loaded later.

    Raises:
        LoratoryError: the base cannot be read, or does not fit.
    """
    from loratory.objectives.qlora.base.loading import choose_device, load_base
    from loratory.objectives.qlora.memory.admission import check_base_fits, free_memory

    model = model_spec(study)
    device, dtype = choose_device(model)
    if device.type == "cpu" and not on_cpu:
        return None
    reference = resolve_base(model)
    if not reference.has_weights:
        return None
    free = free_memory(device, study)
    check_base_fits(model, _architecture(study, reference), free_bytes=free, compute_dtype=dtype)
    return EarlyBase(reference=reference, base=load_base(model, reference))


def build(study: StudySpec, prepared: Prepared) -> Objective:
    """Load the base, on the GPU if there is one, and return the objective.

    Raises:
        LoratoryError: the base on this machine is not the one that the driver checked.
        InputError: the base does not fit into the free memory, its files are not those of its model, or what
            a metric needs is missing.
    """
    from loratory.objectives.qlora.base.checks.tied_weights import check_tied_weights
    from loratory.objectives.qlora.base.checks.weights import check_weights
    from loratory.objectives.qlora.base.loading import choose_device, load_base
    from loratory.objectives.qlora.engine import build_engine
    from loratory.objectives.qlora.memory.admission import Admission
    from loratory.objectives.qlora.memory.engine_size import stack_size
    from loratory.objectives.qlora.objective import QloraObjective
    from loratory.objectives.qlora.relief import Need, naming

    given: QloraInput = prepared.payload
    check_metrics(study)
    architecture = _architecture(study, given.reference)
    device, dtype = choose_device(model_spec(study))
    early = prepared.early.base if _is_of(prepared.early, given.reference) else None
    admission = Admission.before_loading(
        study,
        reference=given.reference,
        architecture=architecture,
        data=given.data,
        stack=stack_size(study, architecture),
        device=device,
        dtype=dtype,
        loaded=early is not None,
    )
    with ThreadPoolExecutor(1, thread_name_prefix="base") as hashing:
        same = hashing.submit(check_same_base, prepared)
        # The driver of a Hub id had no weights.
        checks = () if given.reference.has_weights else (check_weights(given.reference),)
        with naming(Need.BASE):
            base = load_base(model_spec(study), given.reference) if early is None else early
        same.result()
    check_tied_weights(base.model, given.reference.location)
    with naming(Need.ENGINE):
        engine = build_engine(
            study, base=base, architecture=architecture, data=given.data, admission=admission
        )
    hashes = {"base": prepared.hashes["base"]}
    return QloraObjective(study, base=base, engine=engine, data=given.data, hashes=hashes, checks=checks)


def _is_of(early: EarlyBase | None, reference: BaseReference) -> bool:
    return early is not None and early.reference == reference


def import_for_prepare() -> None:
    """Import the libraries that `prepare` needs, which takes seconds."""
    import peft  # noqa: F401
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer  # noqa: F401

    import loratory.objectives.data.cached_preparation
    import loratory.objectives.qlora.base.checks.driver
    import loratory.objectives.qlora.base.checks.vocabulary  # noqa: F401


def import_for_build() -> None:
    """Import the libraries that `build` needs, which takes longer."""
    from loratory.objectives.qlora.base.allocator import use_expandable_segments

    use_expandable_segments()  # before PyTorch reads its settings
    import loratory.objectives.qlora.objective  # noqa: F401
    from loratory.objectives.qlora.base.loading import quieten

    quieten()
    import bitsandbytes  # noqa: F401  # PEFT imports it too, for every format of the base
    import peft  # noqa: F401
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig  # noqa: F401


def _sizes(data: PreparedData) -> dict[str, int]:
    scored = {split.value: len(examples) for split, examples in data.splits.items()}
    return {"train": len(data.train)} | scored


def _architecture(study: StudySpec, reference: BaseReference) -> Architecture:
    model = model_spec(study)
    return read_architecture(
        reference,
        quantization=model.quantization,
        allow_unquantized_experts=model.allow_unquantized_experts,
    )


def check_same_base(prepared: Prepared) -> None:
    """Compare the hash of the base on this machine with the driver's.

    Raises:
        LoratoryError: the hashes differ.
    """
    reference: BaseReference = prepared.payload.reference
    if base_sha256(reference) != prepared.hashes["base"]:
        raise LoratoryError(
            f"base {reference.location} must be the same on every machine, this one has other files"
        )


def trial_bytes(_: StudySpec, prepared: Prepared, parameters: Mapping[str, Any]) -> int:
    """Return the device memory of a trial's adapter in the smallest arrangement, by its rank."""
    from loratory.objectives.qlora.memory.ranks import trial_bytes_of_rank

    given: QloraInput = prepared.payload
    return trial_bytes_of_rank(int(parameters["rank"]), numbers_per_rank=given.numbers_per_rank)


QLORA = ObjectiveKind(
    check=check,
    prepare=prepare,
    build=build,
    trial_bytes=trial_bytes,
    import_for_prepare=import_for_prepare,
    import_for_build=import_for_build,
    load_early=load_early,
)
