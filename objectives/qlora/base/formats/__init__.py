"""Number formats of a frozen base. No other module knows how one is loaded, read or described."""

from loratory.objectives.qlora.base.formats.base_format import BaseFormat
from loratory.objectives.qlora.base.formats.nf4 import NF4
from loratory.objectives.qlora.base.formats.none import NONE
from loratory.spaces.model import Quantization

_FORMATS = {Quantization.NF4: NF4, Quantization.NONE: NONE}


def format_of(quantization: Quantization) -> BaseFormat:
    """Return the format that `model.quantization` names."""
    return _FORMATS[quantization]
