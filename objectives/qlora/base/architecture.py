"""The layers of a base that can carry an adapter, read from its configuration alone."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from loratory.objectives.qlora.base.checks.configuration import refuse_by_configuration
from loratory.objectives.qlora.base.formats import format_of
from loratory.objectives.qlora.base.layers import find_layers
from loratory.objectives.qlora.base.names import Layers, last_part, matching, unambiguous
from loratory.objectives.qlora.base.reference import BaseReference
from loratory.objectives.qlora.base.skeleton import auto_mapping, build_skeleton, in_one_line
from loratory.spaces.errors import InputError
from loratory.spaces.model import Quantization
from loratory.spaces.study import StudySpec

ALL_LINEAR = "all-linear"
# Names of the longest input in configurations: of most models, of Whisper's decoder, of MPT.
_MAX_POSITIONS = ("max_position_embeddings", "max_target_positions", "max_seq_len")


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """Facts from the configuration of a base.

    Attributes:
        name: the base, for messages.
        linear_layers: full module name to (inputs, outputs); the output head is not among them.
        max_positions: longest sequence, in tokens, that the base supports; None: no limit.
        unquantized_experts: one line on the expert weights that format and LoRA skip; None if there are none.
        model_class: name of the class that the base was published with.
        auto_mapping: module and name of that class, as PEFT records them, if `AutoModelForCausalLM` does not
            load it.
        text_part: full name of the module that texts pass, in a model that has others too; None otherwise.
        left_out: last part of the name of linear layers that get no adapter, to the reason.
        other_modules: full names of all modules but the linear layers.
        vocabulary: number of tokens that embedding and output head have a row for; None if they do not tell.
    """

    name: str
    linear_layers: Layers
    max_positions: int | None
    unquantized_experts: str | None = None
    model_class: str = ""
    auto_mapping: Mapping[str, str] | None = None
    text_part: str | None = None
    left_out: Mapping[str, str] = field(default_factory=dict)
    other_modules: tuple[str, ...] = ()
    vocabulary: int | None = None

    @property
    def notes(self) -> tuple[str, ...]:
        """Lines for the terminal on layers that get no adapter."""
        notes = [self.unquantized_experts] if self.unquantized_experts is not None else []
        if self.text_part is not None:
            notes.append(f"base: {self.model_class} is tuned in its text part alone, {self.text_part}")
        if self.left_out:
            left_out = ", ".join(f"{name} ({reason})" for name, reason in sorted(self.left_out.items()))
            notes.append(f"base: no adapters on {left_out}")
        return tuple(notes)

    def targets(self, target_modules: str | tuple[str, ...]) -> tuple[str, ...]:
        """Return sorted names for PEFT's `target_modules`, which match linear layers and nothing else.

        A name that other modules have too is replaced by the full names of its layers.

        Args:
            target_modules: `all-linear`, or the last parts of module names.

        Raises:
            InputError: a name matches no linear layer.
        """
        names = (target_modules,) if isinstance(target_modules, str) else target_modules
        if target_modules == ALL_LINEAR:
            names = tuple({last_part(name) for name in self.linear_layers})
        known = ", ".join(sorted(set(map(_readable, self.linear_layers))))
        for name in names:
            if not self.layers_of((name,)):
                raise InputError(
                    "space.target_modules or training.target_modules: must name linear layers of "
                    f"{self.name}, {name!r} matches none{self._why_not(name)}; there are {known}"
                )
        if not names:
            raise InputError(
                "space.target_modules or training.target_modules: must name at least one of "
                f"{known}, got none"
            )
        targets = (unambiguous(name, self.layers_of((name,)), self.other_modules) for name in names)
        return tuple(sorted({target for some in targets for target in some}))

    def _why_not(self, name: str) -> str:
        reason = self.left_out.get(last_part(name))
        return f" that can be adapted ({reason})" if reason else ""

    def largest_rank(self, targets: tuple[str, ...]) -> int:
        """Return the rank at which the widest targeted layer's update has full rank: more adds nothing."""
        return max(map(min, self.layers_of(targets).values()))

    def layers_of(self, targets: tuple[str, ...]) -> dict[str, tuple[int, int]]:
        """Return names and sizes of the layers that targets match, in the order of the base's modules."""
        return matching(self.linear_layers, targets)


def read_configuration(reference: BaseReference) -> Any:
    """Read the base's transformers configuration.

    Raises:
        InputError: it cannot be read.
    """
    from transformers import AutoConfig

    configuration = _read(AutoConfig, reference, what="config.json")
    for part in (configuration, configuration.get_text_config()):
        _call_as_usual(part)
    return configuration


def read_tokenizer(reference: BaseReference) -> Any:
    """Load the base's tokenizer.

    Raises:
        InputError: it cannot be read.
    """
    from transformers import AutoTokenizer

    return _read(AutoTokenizer, reference, what="tokenizer")


def _call_as_usual(configuration: Any) -> None:
    """Undo what a file says about how its model is called, which changes nothing of what it computes."""
    configuration.return_dict = True
    if configuration._attn_implementation not in (None, "eager", "sdpa"):
        configuration._attn_implementation = None  # kernels of a package that may not be there


def _read(kind: Any, reference: BaseReference, *, what: str) -> Any:
    try:
        return kind.from_pretrained(
            reference.source, revision=reference.revision, trust_remote_code=reference.trust_remote_code
        )
    except Exception as error:  # configurations, tokenizers and code of bases raise errors of any class
        if "trust_remote_code" in str(error) and not reference.trust_remote_code:
            raise InputError(
                f"model.base: {reference.location} must be a model that transformers knows, comes with code "
                "of its own; read that code, and set model.trust_remote_code to true if it may run"
            ) from error
        raise InputError(
            f"model.base: {reference.location} must have a readable {what}: {in_one_line(error)}"
        ) from error


def read_architecture(
    reference: BaseReference,
    *,
    quantization: Quantization = Quantization.NF4,
    allow_unquantized_experts: bool = False,
) -> Architecture:
    """Return the layers of a base, from a model built on the meta device, which takes no memory.

    Args:
        reference: the base.
        quantization: the format to load it in.
        allow_unquantized_experts: accept a base with experts that format and LoRA skip.

    Raises:
        InputError: the base is no causal language model, is quantised already, has no layers that PEFT
            accepts, or holds experts in 3-D parameters, which format and LoRA skip, without
            `allow_unquantized_experts`.
    """
    configuration = read_configuration(reference)
    refuse_by_configuration(configuration, reference.location)
    model = build_skeleton(configuration, reference)
    words = format_of(quantization).words
    found = find_layers(model, reference.location, words)
    if found.experts is not None and not allow_unquantized_experts:
        raise InputError(
            f"model.base: must hold its weights in linear layers, where {words.reach} them; {found.experts}; "
            "take a dense base, or set model.allow_unquantized_experts to true"
        )
    return Architecture(
        name=reference.location,
        linear_layers=found.linear,
        max_positions=_max_positions(configuration.get_text_config()),
        unquantized_experts=found.experts,
        model_class=type(model).__name__,
        auto_mapping=auto_mapping(configuration, model),
        text_part=found.text_part,
        left_out=found.left_out,
        other_modules=found.others,
        vocabulary=vocabulary(model),
    )


def _max_positions(configuration: Any) -> int | None:
    found = (getattr(configuration, name, None) for name in _MAX_POSITIONS)
    return next((most for most in found if most is not None), None)


def vocabulary(model: Any) -> int | None:
    """Return how many tokens a model's embedding and output head both have a row for; None if unknown."""
    modules = (model.get_input_embeddings(), model.get_output_embeddings())
    matrices = [getattr(module, "weight", None) for module in modules]
    return min((len(matrix) for matrix in matrices if matrix is not None), default=None)


def check_targets(study: StudySpec, architecture: Architecture) -> None:
    """Refuse target modules and ranks, fixed or searched, that the base cannot carry.

    Raises:
        InputError: a name matches no layer, or a rank exceeds that of the widest targeted layer.
    """
    limit = min(
        architecture.largest_rank(architecture.targets(c if isinstance(c, str) else tuple(c)))
        for c in study.extremes_of("target_modules")
    )
    for rank in study.extremes_of("rank"):
        if rank > limit:
            raise InputError(
                f"space.rank or training.rank: must be at most {limit}, which gives the widest targeted "
                f"layer of {architecture.name} its full rank, got {rank}"
            )


def _readable(name: str) -> str:
    """Return the last part of a layer's name, or the last two where that is a number in a list."""
    parent, _, last = name.rpartition(".")
    return f"{last_part(parent)}.{last}" if last.isdigit() else last
