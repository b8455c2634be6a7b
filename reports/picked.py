"""The trial with the best value was picked by it: its intervals allow for that."""

from typing import TypeVar

from loratory.reports.comparison_report import Choice, RankedTrial, Retrained, ScoredTrial, Scores
from loratory.reports.findings import Findings, Interval
from loratory.reports.intervals import GAIN

_Trial = TypeVar("_Trial", bound=ScoredTrial)
_NO_OPTIMISM = "nothing tells how much its choice flatters it"


def allow_for_picking(
    ranking: tuple[RankedTrial, ...], retrained: Retrained | None, findings: Findings | None, metric: str
) -> tuple[tuple[RankedTrial, ...], Retrained | None]:
    """Give the picked trial the interval of a picked one, wherever it is.

    Its gain has the same optimism, since the base was not picked: the interval is moved down by it.

    Args:
        ranking: the trials of the search.
        retrained: trainings anew.
        findings: which trial was picked, with its interval and optimism.
        metric: the study's metric.
    """
    if findings is None or findings.picked is None:
        return ranking, retrained
    ranking = tuple(_allowed(t, findings, metric) if t.key == findings.picked else t for t in ranking)
    if retrained is None or all(run.key != findings.picked for run in retrained.runs):
        return ranking, retrained
    settings = tuple(
        s.model_copy(
            update={
                "runs": tuple(
                    _allowed(r, findings, metric) if r.key == findings.picked else r for r in s.runs
                )
            }
        )
        for s in retrained.settings
    )
    return ranking, retrained.model_copy(update={"settings": settings})


def _allowed(trial: _Trial, findings: Findings, metric: str) -> _Trial:
    missing = dict(trial.no_interval)
    gain = trial.gain_interval
    if findings.optimism is None:
        gain = None
        missing |= {GAIN: _NO_OPTIMISM} if trial.gain_interval else {}
    elif gain is not None:
        gain = _moved(gain, findings.optimism)
    if findings.interval is None:
        missing.setdefault(metric, _NO_OPTIMISM)
    return trial.model_copy(
        update={
            "picked": True,
            "interval": findings.interval,
            "gain_interval": gain,
            "no_interval": missing,
        }
    )


def chosen_on_confirm(scores: Scores, choice: Choice, metric: str) -> Scores:
    """Give the published trial on confirm, which chose it among several, the interval of the choice.

    Args:
        scores: scores of a model on confirm.
        choice: the choice.
        metric: the study's metric.
    """
    if scores.trial != choice.key or len(choice.candidates) < 2:
        return scores
    missing, gain, ends = dict(scores.no_interval), scores.gain, scores.gain_interval
    if choice.optimism is None:
        missing.setdefault(metric, _NO_OPTIMISM)
        ends = None
    else:
        gain = None if gain is None else gain - choice.optimism
        ends = None if ends is None else _moved(ends, choice.optimism)
    return scores.model_copy(
        update={"interval": choice.interval, "no_interval": missing, "gain": gain, "gain_interval": ends}
    )


def _moved(ends: Interval, down: float) -> Interval:
    return Interval(low=ends.low - down, high=ends.high - down)
