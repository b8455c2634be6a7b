"""One architecture: right, refused in a sentence, or wrong."""

import os
import shutil
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from loratory.objectives.data.prepared import PreparedData
from loratory.objectives.data.special_tokens import AnswerReader
from loratory.objectives.qlora.adapters.adapter import new_adapter
from loratory.objectives.qlora.base.architecture import read_architecture
from loratory.objectives.qlora.kind import QLORA, QloraInput, model_spec
from loratory.objectives.records import Check
from loratory.spaces.errors import InputError
from model_matrix.architectures import ARCHITECTURES
from model_matrix.bases import make_base, make_tokenizer
from model_matrix.plain import NEAR_TIE, PlainAdapter, load_base
from model_matrix.study import Outcome, prepare, tiny_study
from model_matrix.verdict import Verdict

LOSS_TOLERANCE, GRADIENT_TOLERANCE = 1e-5, 1e-3
_WITHOUT_CACHE = "reading its whole prompt"


def judge(name: str, folder: Path) -> Verdict:
    """Make the base of an architecture, run a tiny study on it, and compare with transformers and PEFT.

    Args:
        name: of the architecture.
        folder: for bases, with the rows of all studies.
    """
    began = time.perf_counter()
    base = folder / name
    try:
        verdict = _judge(name, base, folder)
    finally:
        shutil.rmtree(base, ignore_errors=True)
    return Verdict(**{**vars(verdict), "seconds": time.perf_counter() - began})


def _judge(name: str, base: Path, folder: Path) -> Verdict:
    architecture = ARCHITECTURES[name]
    try:
        make_base(base, architecture.model_type or name, architecture.settings)
    except Exception as error:
        return Verdict(name=name, result="not made", detail=_line(error))
    study = tiny_study(base, folder, **architecture.model)
    try:
        prepared = prepare(study)
        objective = QLORA.build(study, prepared)
    except InputError as refusal:
        return Verdict(name=name, result="refused", detail=_line(refusal).replace(str(base), name))
    except Exception as error:
        return Verdict(name=name, result="wrong", detail=f"no refusal in words: {_line(error)}")
    given: QloraInput = prepared.payload
    try:
        outcome = Outcome(study, objective)
        faults = [*_faults(outcome, base, given, model_spec(study).quantization)]
    except Exception as error:
        if os.environ.get("MATRIX_TRACES"):
            traceback.print_exc()
        return Verdict(name=name, result="wrong", detail=_line(error))
    checks = {check.name: check for check in outcome.ready.checks}
    return Verdict(
        name=name,
        result="wrong" if faults else "right",
        training="one at a time" if "one trial at a time" in checks["packing"].detail else "packed",
        decoding=_decoding(checks["decoding"].detail),
        detail="; ".join(faults) or _why_slower(checks).replace(str(base), name),
    )


def _faults(outcome: Outcome, base: Path, given: QloraInput, quantization: str) -> Iterator[str]:
    """Yield what differs from transformers and PEFT."""
    data: PreparedData = given.data
    adapter = PlainAdapter(load_base(base, quantization), outcome.finished.adapter, base / "adapter")
    expected = adapter.losses(data.select)
    losses = outcome.finished.scores.metrics["loss"].tolist()
    apart = max(abs(ours - theirs) for ours, theirs in zip(losses, expected, strict=True))
    if not apart <= LOSS_TOLERANCE:
        yield f"a loss differs from PEFT's by {apart:.1e}"
    tokenizer = make_tokenizer()
    (decoding,) = [check for check in outcome.ready.checks if check.name == "decoding"]
    for example, prediction in zip(data.select, outcome.finished.predictions, strict=True):
        ids, margins = adapter.answer(example, use_cache=_WITHOUT_CACHE not in decoding.detail)
        if fault := _wrong_answer(tokenizer, ids, margins, prediction.prediction):
            yield fault
            break
    yield from _wrong_training(outcome, base, given, quantization)


def _wrong_answer(tokenizer: Any, ids: list[int], margins: list[float], prediction: str) -> str | None:
    """Return how an answer differs from the reference's by the token rule; None where it does not."""
    tie = next((place for place, margin in enumerate(margins) if margin < NEAR_TIE), None)
    expected = AnswerReader(tokenizer)(ids[:tie])
    if prediction == expected or (tie is not None and prediction.startswith(expected)):
        return None
    return f"an answer is {prediction!r} instead of {expected!r}"


def _wrong_training(outcome: Outcome, base: Path, given: QloraInput, quantization: str) -> Iterator[str]:
    """Yield how the curve differs from that of PEFT."""
    architecture = read_architecture(given.reference, allow_unquantized_experts=True)
    start = new_adapter(
        architecture.linear_layers,
        training=outcome.spec.training,
        targets=architecture.targets(outcome.spec.training.target_modules),
        seed=outcome.spec.seed,
    )
    files = start.files(start.state, base_name=None, revision=None)
    adapter = PlainAdapter(load_base(base, quantization), files, base / "start", trains=True)
    for point, (loss, norm) in zip(
        outcome.points, adapter.train(given.data.train, outcome.points), strict=True
    ):
        if not abs(point.loss - loss) <= LOSS_TOLERANCE * max(1.0, loss):
            yield f"the loss of update {point.optimizer_step} is {point.loss:.6f} instead of {loss:.6f}"
        if not abs(point.grad_norm - norm) <= GRADIENT_TOLERANCE * norm:
            step = point.optimizer_step
            yield f"the gradient of update {step} is {point.grad_norm:.4g} instead of {norm:.4g}"


def _decoding(detail: str) -> str:
    """Return a word for the way of decoding."""
    if "generate" not in detail:
        return "cache"
    return "uncached" if _WITHOUT_CACHE in detail else "generate"


def _why_slower(checks: dict[str, Check]) -> str:
    """Return why a base does not train or decode the fastest way; empty where it does."""
    slow = [checks[name].detail for name in ("packing", "decoding")]
    return "; ".join(detail.split(": ", 1)[1].split("; ")[0] for detail in slow if ": " in detail)


def _line(error: Exception) -> str:
    name = "" if isinstance(error, InputError) else f"{type(error).__name__}: "
    return f"{name}{' '.join(str(error).split())[:400]}"
