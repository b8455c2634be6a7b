"""A cut of the simulation: the procedures reach their bars, and wrong ones would not."""

import numpy as np
import pytest
from statistics_cells import figures as judged
from statistics_cells.bars import BARS, outcomes
from statistics_cells.batches import run_batch, summarize
from statistics_cells.cells import CELLS, REPLAY_CELLS, RULE_CELLS, SEARCH_CELLS, Cell
from statistics_cells.discordant import RULES, exact_shares
from statistics_cells.further_search import BINS, FURTHER, TRIED
from statistics_cells.generator import Truth
from statistics_cells.replays import SEEDS, drawn_settings
from statistics_cells.table import as_markdown

from loratory.reports.statistics.fixed_interval import Bounds, fixed_intervals, student_quantile

STUDIES = 75
SHORT = [
    Cell(metric="rouge", trials=12, examples=50),
    Cell(metric="accuracy", trials=12, examples=50),
    Cell(metric="bleu", trials=12, examples=50),
    Cell(metric="rouge", trials=12, examples=50, group_size=10, likeness=0.15),
]
FLATTERED = Cell(metric="accuracy", trials=40, examples=50, scenario="tied")


RIGHT = Cell(metric="accuracy", trials=12, examples=50, right=1.9)


def missed(cell: Cell, studies: int = STUDIES) -> set[str]:
    """Figures that are outside their bars by more than two standard errors."""
    summary = summarize([run_batch(cell, 0, studies)], cell)
    return {outcome.bar.figure for outcome in outcomes(cell, summary) if outcome.surely_missed}


@pytest.mark.parametrize("cell", SHORT, ids=lambda cell: cell.name)
def test_the_procedures_reach_their_bars(cell) -> None:
    assert missed(cell) == set()


def test_few_examples_that_differ_reach_theirs_and_the_spread_of_the_sample_would_not() -> None:
    assert missed(RIGHT, 25) == set()
    means = summarize([run_batch(RIGHT, 0, 25)], RIGHT).means
    assert means["held"] > 0.96 and means["held by jackknife"] < 0.93
    exact = exact_shares(50, 0.02, 0.018)
    held, told = zip(*(exact[rule] for rule in RULES), strict=True)
    assert held[0] < 0.7 and min(held[1:]) > 0.99
    assert max(exact_shares(200, 0.1, 0.0)["Tango, Student's t"][1], told[2]) < 0.05


def test_both_rules_of_the_optimism_are_of_the_same_studies() -> None:
    rule = next(rule for rule in RULE_CELLS if rule.cell.examples == 50)
    both, ours = (summarize([run_batch(cell, 0, 3)], cell).means for cell in (rule, rule.cell))
    assert both["ours"] == ours["optimism"] and both["true optimism"] == ours["true optimism"]
    assert both["theirs"] > both["ours"]


def test_the_picked_value_itself_would_not(monkeypatch) -> None:
    monkeypatch.setattr(judged, "optimism", lambda *_: 0.0)
    assert {"picked", "optimism"} <= missed(FLATTERED, 40)


def test_a_set_without_correction_would_not(monkeypatch) -> None:
    monkeypatch.setattr("loratory.reports.statistics.best_set.critical_value", lambda *_, error: 1.0)
    assert {"best in set", "shortfall"} <= missed(SHORT[0])


def test_examples_in_place_of_groups_would_not(monkeypatch) -> None:
    wide = Cell(metric="rouge", trials=12, examples=200, group_size=40, likeness=0.3)

    def of_examples(scored, errors):
        """The interval that single examples would have: narrower by what groups share, with t(n - 1)."""
        inflation = 1 + (scored.examples / scored.units - 1) * wide.likeness
        bounds = fixed_intervals(scored, errors)
        middle, half = (bounds.high + bounds.low) / 2, (bounds.high - bounds.low) / 2
        half *= 1.97 / student_quantile(scored) / inflation**0.5
        return Bounds(low=middle - half, high=middle + half)

    assert "fixed" not in missed(wide, 50)
    monkeypatch.setattr(judged, "fixed_intervals", of_examples)
    assert "fixed" in missed(wide, 50)


def test_true_values_are_those_of_very_many_examples() -> None:
    for metric, labels in (("rouge", 0), ("accuracy", 0), ("bleu", 0), ("macro_f1", 6)):
        cell = Cell(metric=metric, trials=6, examples=0, labels=labels)
        truth = Truth(cell=cell, skills=np.linspace(-1, 1, 6))
        found = truth.score(60_000, np.random.default_rng(0))
        assert found.values == pytest.approx(truth.values, rel=0.03)


def test_a_study_depends_on_its_kind_and_number_alone() -> None:
    first, second = run_batch(SHORT[0], 0, 2), run_batch(SHORT[0], 1, 1)
    assert run_batch(SHORT[0], 0, 2) == first
    alone = run_batch(SHORT[0], 0, 1)
    for name, total in first["sums"].items():
        assert total == pytest.approx(alone["sums"][name] + second["sums"][name])


def test_the_table_has_every_figure_and_names_what_is_missed() -> None:
    cell = CELLS[0]
    figures = dict.fromkeys(run_batch(cell, 0, 1)["sums"], 0.0)
    lines = [
        {"cell": cell.name, "first": first, "studies": 25, "sums": sums, "squares": sums}
        for first, sums in ((0, figures | {"picked": 20.0, "true optimism over all": 1.0}), (25, figures))
    ]
    text = as_markdown([*lines, lines[0]])
    assert f"| {cell.name} | 50 |" in text
    assert "0.400\\*\\*" in text
    assert f"- {cell.name}: picked must be at least 0.92, is 0.400 +- 0.069" in text
    judged_bars = sum(bar.applies(cell) for bar in BARS)
    assert f"1 of {judged_bars} bars are met." in text


def test_seeds_move_the_files_of_the_same_settings() -> None:
    cell = Cell(metric="rouge", trials=12, examples=0, confirm=60, seeds=0.05)
    truth, best = drawn_settings(cell, np.random.default_rng(0))
    assert len(truth.skills) == 12 * (1 + SEEDS)
    shares = truth.values / best
    spread = [shares[truth.settings == number].std(ddof=1) for number in range(12)]
    assert np.mean(spread) == pytest.approx(0.05, rel=0.25)
    assert 0.95 < shares[12:].reshape(12, SEEDS).mean(axis=1).max() < 1.06


def test_confirm_publishes_better_files_and_flatters_less() -> None:
    cell = next(cell for cell in REPLAY_CELLS if cell.trials == 12 and cell.confirm == 350)
    summary = summarize([run_batch(cell, 0, 40)], cell)
    means = summary.means
    assert means["by select"] + 0.003 < means["by confirm"] < means["by confirm, retrained too"]
    assert means["by confirm"] < means["truly best"]
    assert means["optimism by confirm"] < 0.7 * means["optimism by select"]


def test_no_bar_asks_a_replay_for_what_it_does_not_measure() -> None:
    for cell in REPLAY_CELLS:
        assert not any(bar.applies(cell) for bar in BARS)


def test_searches_are_looked_at_in_bins_and_tabulated() -> None:
    cell = next(cell for cell in SEARCH_CELLS if cell.sampler == "random")
    line = run_batch(cell, 0, 4)
    sums = line["sums"]
    looks = sum(sums[f"count {place}"] for place in range(BINS))
    assert looks == 4 * sum(tried + more <= 96 for tried in TRIED for more in FURTHER)
    for name in ("by select", "by confirm"):
        assert 0 < sum(sums[f"{name} {place}"] for place in range(BINS)) < looks
    assert f"| {cell.name} | 4 | 0.0 to 0.2 | {sums['count 0']:.0f} |" in as_markdown([line])
