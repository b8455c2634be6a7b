"""Scores of a saved adapter by plain PEFT, without the training engine, for `publish --verify`."""

from dataclasses import replace
from pathlib import Path

from loratory.objectives.data.prepared import PreparedData
from loratory.objectives.events import Split
from loratory.objectives.objective import Prepared
from loratory.objectives.qlora.kind import QloraInput, check_same_base, model_spec
from loratory.objectives.scores import ScoreTable
from loratory.spaces.study import StudySpec


def score_adapter(study: StudySpec, prepared: Prepared, adapter_folder: Path, split: Split) -> ScoreTable:
    """Load base and adapter as a user would, with `PeftModel.from_pretrained`, and score a split.

    Args:
        study: names the metrics and the limits of decoding.
        prepared: the result of the objective's `prepare` for this study.
        adapter_folder: holds PEFT's two files.
        split: the split to score.
    """
    from peft import PeftModel

    from loratory.objectives.qlora.base.loading import load_base
    from loratory.objectives.qlora.verification.plain_evaluation import evaluate

    given: QloraInput = prepared.payload
    data: PreparedData = given.data
    check_same_base(prepared)
    base = load_base(model_spec(study), given.reference)
    adapted = replace(base, model=PeftModel.from_pretrained(base.model, str(adapter_folder)))
    examples = data.split(split)
    return evaluate(adapted, study, examples, labels=data.labels, kept_ids=data.kept_ids).scores
