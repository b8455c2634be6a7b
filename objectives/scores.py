"""Scores per example with their sufficient statistics, and the texts that they were computed on."""

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loratory.objectives.npz import read_arrays
from loratory.objectives.records import SCHEMA_VERSION
from loratory.spaces.errors import LoratoryError

_METRIC, _STATISTIC = "metric/", "statistic/"


@dataclass(frozen=True, kw_only=True)
class ScoreTable:
    """Per-example scores of one model on one split, n examples in the split's fixed order.

    Attributes:
        example_ids: n ids, unique in the split.
        groups: n group names (such as a document or module), for clustered statistics.
        metrics: name to float64 [n], the metric of each example.
        statistics: name to float64 [n, k], counts to sum over examples (BLEU and chrF n-grams, tokens).
        signatures: name to details of the computation (tokenizer, case, version).
        aggregate: name to the value over the whole split, by which trials are ranked.
    """

    example_ids: tuple[str, ...]
    groups: tuple[str, ...]
    metrics: dict[str, NDArray[np.float64]]
    statistics: dict[str, NDArray[np.float64]]
    signatures: dict[str, str]
    aggregate: dict[str, float]

    def to_bytes(self) -> bytes:
        """Return the table as an npz archive without pickles."""
        names = ("example_ids", "groups", "signatures", "aggregate")
        header = {"schema_version": SCHEMA_VERSION} | {name: getattr(self, name) for name in names}
        arrays: dict[str, NDArray[Any]] = {
            "header": np.frombuffer(json.dumps(header).encode(), dtype=np.uint8)
        }
        arrays |= {_METRIC + name: values for name, values in self.metrics.items()}
        arrays |= {_STATISTIC + name: values for name, values in self.statistics.items()}
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]  # no array is named allow_pickle
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes, place: str = "scores") -> "ScoreTable":
        """Read a table that `to_bytes` wrote, in this version or version 1, which has no version number.

        Args:
            data: the archive.
            place: location of the archive, for messages.

        Raises:
            LoratoryError: a newer loratory wrote it.
        """
        arrays = read_arrays(data)
        header = json.loads(arrays["header"].tobytes())
        if (version := header.get("schema_version", 1)) > SCHEMA_VERSION:
            rule = f"schema_version must be at most {SCHEMA_VERSION}, got {version}"
            raise LoratoryError(f"{place}: {rule}; update loratory")
        metrics = {n.removeprefix(_METRIC): a for n, a in arrays.items() if n.startswith(_METRIC)}
        statistics = {n.removeprefix(_STATISTIC): a for n, a in arrays.items() if n.startswith(_STATISTIC)}
        return cls(
            example_ids=tuple(header["example_ids"]),
            groups=tuple(header["groups"]),
            metrics=metrics,
            statistics=statistics,
            signatures=header["signatures"],
            aggregate=header["aggregate"],
        )


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """Answer of a model to one example."""

    example_id: str
    group: str
    prompt: str
    reference: str
    prediction: str


def predictions_to_bytes(predictions: Sequence[Prediction]) -> bytes:
    """Return JSONL with one prediction per line, in order."""
    lines = (json.dumps(vars(p), ensure_ascii=False) + "\n" for p in predictions)
    # A model may answer with half a surrogate pair, which UTF-8 cannot hold.
    return "".join(lines).encode(errors="replace")


def predictions_from_bytes(data: bytes) -> list[Prediction]:
    """Read predictions that `predictions_to_bytes` wrote."""
    return [Prediction(**json.loads(line)) for line in data.decode().split("\n") if line]
