import pytest

from loratory.objectives.records import TrialState
from loratory.objectives.study_folder import StudyFolder
from loratory.reports.comparison import compare
from loratory.reports.comparison_report import ComparisonReport, RankedTrial
from loratory.reports.metric_ranks import metric_ranks
from loratory.reports.pareto import pareto_fronts
from loratory.reports.trade_off_words import front_rows, metric_sentences, rank_heads, rank_rows
from loratory.spaces.metric_names import Direction


def trial(number: int, value: float, **changes: object) -> RankedTrial:
    fields = {
        "key": f"{number:04d}",
        "number": number,
        "rank": number + 1,
        "state": TrialState.COMPLETE,
        "params": {},
        "seed": 0,
        "value": value,
        "metrics": {"rougeL": value},
    }
    return RankedTrial.model_validate(fields | changes)


def ranks(trials: list[RankedTrial], may_be_best: tuple[str, ...] = (), published: str | None = None):
    return metric_ranks(
        trials, metric="rougeL", direction=Direction.MAXIMIZE, may_be_best=may_be_best, published=published
    )


def test_places_by_each_metric_in_its_own_direction() -> None:
    trials = [
        trial(0, 0.5, metrics={"rougeL": 0.5, "loss": 3.0, "bleu": 7.0}),
        trial(1, 0.4, metrics={"rougeL": 0.4, "loss": 1.0, "bleu": 7.0}),
        trial(2, 0.3, metrics={"rougeL": 0.3, "loss": 2.0}),
        trial(3, 0.2, metrics={"rougeL": 0.2, "bleu": 6.0}),
    ]
    own, loss, bleu = ranks(trials, ("0000", "0001"))
    assert own.ranks == {"0000": 1, "0001": 2}
    assert (loss.ranks, loss.first, loss.first_may_be_best) == ({"0000": 3, "0001": 1}, ("0001",), True)
    # Equal values share a place.
    assert (bleu.ranks, bleu.first, bleu.trials) == ({"0000": 1, "0001": 1}, ("0000", "0001"), 3)
    assert bleu.first_may_be_best and not ranks(trials, ("0000",))[2].first_may_be_best


def test_a_metric_that_is_equal_for_all_trials_puts_none_first() -> None:
    trials = [trial(n, 0.5 - n, metrics={"rougeL": 0.5 - n, "exact_match": 0.0}) for n in range(3)]
    assert [each.metric for each in ranks(trials, ("0000",))] == ["rougeL"]


def test_a_metric_without_a_direction_is_left_out() -> None:
    found = ranks([trial(0, 0.5, metrics={"rougeL": 0.5, "my_own": 1.0})], published="0000")
    assert [each.metric for each in found] == ["rougeL"]
    assert found[0].ranks == {"0000": 1}


def test_no_trial_has_no_places_and_no_front() -> None:
    assert ranks([]) == ()
    assert pareto_fronts([], Direction.MAXIMIZE, may_be_best=()) == ()


@pytest.mark.parametrize(("direction", "better"), [(Direction.MAXIMIZE, 1), (Direction.MINIMIZE, -1)])
def test_front_holds_what_nothing_dominates(direction: Direction, better: int) -> None:
    sizes = {
        0: (0.5, 400),
        1: (0.4, 100),
        2: (0.3, 200),
        3: (0.4, 100),
        4: (0.6, 900),
        5: (0.6, 1000),
        6: (0.2, 50),
    }
    trials = [trial(n, better * value, adapter_bytes=size) for n, (value, size) in sizes.items()]
    size, seconds, speed, memory = pareto_fronts(trials, direction, may_be_best=["0004"])
    assert [point.key for point in size.front] == ["0006", "0001", "0003", "0000", "0004"]
    assert [point.key for point in size.others] == ["0002", "0005"]
    assert [point.key for point in size.front if point.may_be_best] == ["0004"]
    for absent in (seconds, speed, memory):
        assert absent.front == absent.others == ()
    assert seconds.note == "No device time is recorded."
    assert speed.note.startswith("Not recorded")


def test_trials_without_a_recorded_cost_are_counted() -> None:
    trials = [trial(0, 0.5, adapter_bytes=4), trial(1, 0.4)]
    size = pareto_fronts(trials, Direction.MAXIMIZE, may_be_best=())[0]
    assert [point.key for point in (*size.front, *size.others)] == ["0000"]
    assert "1 of 2 trials have none recorded" in size.note


def test_metrics_of_the_quickstart_disagree(quickstart: StudyFolder) -> None:
    report = compare(quickstart)
    said = " ".join(metric_sentences(report))
    assert "ROUGE-L, loss and token F1 put trial 11 first" in said
    assert "BLEU and ROUGE-2 put trial 6 first" in said
    assert "exact match puts trials 8 and 6 (equal) first" in said
    assert "Each of these may be the best by ROUGE-L too." in said
    rows = rank_rows(report)
    assert rank_heads(report)[:4] == ["trial", "ROUGE-L", "loss", "BLEU"]
    assert [row[:4] for row in rows] == [
        ["trial 11", "1", "1", "3"],
        ["trial 8", "2", "2", "2"],
        ["trial 6", "3", "5", "1"],
        ["trial 9", "4", "3", "5"],
    ]
    fronts = {row[0]: row[1] for row in front_rows(report)}
    assert fronts["adapter size"] == "trial 8 (463 KiB, 0.2494), trial 11 (919 KiB, 0.2531)"
    assert fronts["decoding speed"] == "–"


def test_metrics_that_agree_say_so(study: StudyFolder) -> None:
    report = compare(study)
    assert metric_sentences(report) == ["All 4 metrics put trial 7 first."]


def test_a_metric_that_puts_a_bad_trial_first_is_said(study: StudyFolder) -> None:
    report = compare(study)
    own, *others = report.ranks_by_metric
    odd = others[0].model_copy(update={"first": ("0000",), "first_shown": ("0",), "first_may_be_best": False})
    said = metric_sentences(with_ranks(report, (own, odd, *others[1:])))
    assert said[1] == "By ROUGE-L, trial 0 is not among those that may be best."


def with_ranks(report: ComparisonReport, found: tuple[object, ...]) -> ComparisonReport:
    return report.model_copy(update={"ranks_by_metric": found})


def test_peaks_that_differ_in_the_fourth_digit_are_the_same_cost() -> None:
    trials = [trial(n, value=0.1 * n, peak_memory_bytes=3_000_000_000 + n) for n in range(3)]
    *_, memory = pareto_fronts(trials, Direction.MAXIMIZE, may_be_best=())
    assert [(point.shown, point.cost) for point in memory.front] == [("2", 3e9)]
