"""Resuming, ratios, goals, the table and the plot, from made-up readings; and processes that wait."""

import json
import math
import shutil
import sys
import xml.etree.ElementTree as ElementTree
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from packing_cells.cells import Cell
from packing_cells.comparison import losses, summarize
from packing_cells.goals import outcomes
from packing_cells.measured import DidNotFitError
from packing_cells.plot import BROWSERS, figure, write_plot
from packing_cells.rendezvous import Rendezvous
from packing_cells.results import Reading, Results
from packing_cells.runner import Plan, Runner
from packing_cells.table import as_data, as_markdown

GIB = 2**30


def reading(cell, variant, pace, *, repeat=0, memory=GIB, wall=1.0, details=None, device="made up"):
    """A made-up reading; a pace of None did not fit."""
    measured = {
        "tokens_per_second": pace,
        "trials": 1,
        "steps": 10,
        "seconds": 1.0,
        "peak_memory_bytes": memory // 2,
        "device_memory_bytes": memory,
        "details": details or {},
    }
    return Reading(
        cell=cell,
        variant=variant,
        repeat=repeat,
        wall_seconds=wall,
        machine={"device": device, "torch": "2"},
        measured=None if pace is None else measured,
    )


READINGS = [
    *[reading("1b:512", "trainer", pace, repeat=i) for i, pace in enumerate((1000.0, 1200.0, 900.0))],
    reading("1b:512", "processes-4", 8000.0),
    reading("1b:512", "processes-8", 6000.0, memory=20 * GIB),
    reading("1b:512", "processes-16", None),
    reading("1b:512", "ours-8", 25_000.0, details={"refill_pack_steps": 1.0}),
    reading("1b:512", "ours-8-uncached", 60_000.0, memory=8 * GIB),
    reading("1b:8192", "ceiling", 100_000.0),
    reading("1b:8192", "trainer", 40_000.0),
    reading("1b:8192", "ours-1", 30_000.0),
    reading("1b:8192", "ours-8", 56_000.0),
    reading("1b:1024", "ours-8", 30_000.0),
    reading("1b:lognormal", "ours-8", 15_000.0),
    reading("7b:decode", "generate", 100.0),
    reading("7b:decode", "packed-decoding", 450.0),
]


def goal(name, shape):
    found = outcomes(summarize(READINGS))
    return next(one for one in found if one["name"].startswith(name) and one["shape"] == shape)


def test_repeats_become_a_median_and_its_spread():
    summary = summarize(READINGS).loc["1b:512", "trainer"]
    assert (summary.repeats, summary.tokens_per_second) == (3, 1000.0)
    assert (summary.lowest, summary.highest) == (900.0, 1200.0)


@pytest.mark.parametrize(
    ("name", "shape", "value", "met"),
    [
        ("ours-8 / trainer, 512", "1b", 25.0, True),
        ("ours-8 / best of processes", "1b", 25_000 / 8000, True),
        ("memory", "1b", 0.4, True),
        ("best of ours / trainer, 8192", "1b", 1.4, True),
        ("share of the ceiling", "1b", 0.56, True),
        ("ours-8, log-normal", "1b", 0.5, False),
        ("pack steps to refill", "1b", 1.0, True),
        ("packed decoding", "7b", 4.5, True),
        ("packed decoding", "1b", None, None),
        ("ours-8 / trainer, 512", "7b", None, None),
    ],
)
def test_goals_are_computed_from_the_right_cells(name, shape, value, met):
    outcome = goal(name, shape)
    assert outcome["value"] == (None if value is None else pytest.approx(value))
    assert outcome["met"] is met


def test_goals_of_other_models_are_not_asked_for():
    assert {outcome["shape"] for outcome in outcomes(summarize(READINGS))} == {"1b", "7b"}


def test_losses_name_every_pack_that_another_way_outruns():
    assert losses(summarize(READINGS)) == ["1b:8192: ours-1 has 0.75x the pace of trainer"]
    more = [*READINGS, reading("1b:512", "ours-16", None)]
    assert "1b:512: ours-16 did not fit, processes-4 did" in losses(summarize(more))


def test_seconds_of_a_trial_follow_from_its_tokens():
    seconds = summarize(READINGS)["seconds_per_trial"]
    assert seconds["1b:512", "processes-4"] == pytest.approx(500 * 512 / 8000)
    assert math.isnan(seconds["1b:512", "processes-16"])
    assert math.isnan(seconds["1b:8192", "ceiling"])
    assert math.isnan(seconds["7b:decode", "generate"])


def test_the_table_has_a_line_for_every_variant_of_every_cell():
    text = as_markdown(READINGS)
    rows = [line for line in text.splitlines() if line.startswith(("| 1b |", "| 7b |"))]
    assert len(rows) == len(READINGS) - 2  # three repeats are one line
    ours = next(row for row in rows if "| ours-8 |" in row and "| 512 |" in row)
    assert "| 25,000 |" in ours
    assert "| 25.00x | 3.12x |" in ours
    assert any("processes-16 | did not fit |" in row for row in rows)
    assert "made up" in text
    assert len({row.count("|") for row in rows}) == 1


def test_the_table_goes_from_few_tokens_to_many_and_ours_come_last():
    table = summarize(READINGS[::-1])
    assert list(dict.fromkeys(table["cell"])) == [
        *("7b:decode", "1b:512", "1b:1024", "1b:8192", "1b:lognormal"),
    ]
    assert list(table.loc["1b:512"]["variant"]) == [
        *("trainer", "processes-4", "processes-8", "processes-16", "ours-8", "ours-8-uncached"),
    ]


def test_the_table_as_data_is_plain_json():
    data = json.loads(json.dumps(as_data(READINGS), allow_nan=False))
    assert [part["device"] for part in data["devices"]] == ["made up"]
    data = data["devices"][0]
    ours = next(m for m in data["measurements"] if (m["cell"], m["variant"]) == ("1b:512", "ours-8"))
    assert ours["against_trainer"] == pytest.approx(25.0)
    assert data["losses"] == ["1b:8192: ours-1 has 0.75x the pace of trainer"]


def test_variants_take_turns_and_what_is_there_is_not_measured_again(tmp_path):
    path = tmp_path / "results.jsonl"
    results = Results(path)
    assert results.pending("1b:512", ("a", "b"), repeats=2, device="made up") == [
        (0, "a"),
        (0, "b"),
        (1, "a"),
        (1, "b"),
    ]
    results.add(reading("1b:512", "a", 1.0))
    results.add(reading("1b:512", "b", None))
    again = Results(path)
    assert again.readings == results.readings
    assert again.pending("1b:512", ("a", "b"), repeats=2, device="made up") == [(1, "a")]
    assert again.pending("1b:256", ("a",), repeats=1, device="made up") == [(0, "a")]
    assert again.pending("1b:512", ("b",), repeats=1, device="another") == [(0, "b")]


def test_a_line_cut_off_by_a_kill_is_measured_again(tmp_path):
    path = tmp_path / "results.jsonl"
    Results(path).add(reading("1b:512", "a", 1.0))
    with path.open("a") as file:
        file.write('{"cell": "1b:512", "vari')
    results = Results(path)
    assert results.pending("1b:512", ("a", "b"), repeats=1, device="made up") == [(0, "b")]
    results.add(reading("1b:512", "b", 2.0))
    assert [one.variant for one in Results(path).readings] == ["a", "b"]


def test_the_time_a_variant_needs_is_what_it_took_on_that_model():
    results = Results()
    results.add(reading("1b:512", "a", 1.0, wall=7.0))
    results.add(reading("7b:512", "a", 1.0, wall=70.0))
    assert results.expected_seconds("1b:256", "a", device="made up", otherwise=20) == 7.0
    assert results.expected_seconds("1b:256", "b", device="made up", otherwise=20) == 20


def test_a_run_measures_what_is_missing_within_its_budget(tmp_path):
    def run(*, repeats, budget_seconds):
        results = Results(tmp_path / "results.jsonl")
        runner = Runner(torch.device("cpu"), results, repeats=repeats, steps=1, pool_size=1)
        assert runner.run([Plan(Cell.parse("tiny:256"), ("ceiling",))], budget_seconds=budget_seconds) == 0
        return results.readings

    assert run(repeats=2, budget_seconds=1.0) == []
    first = run(repeats=2, budget_seconds=1000.0)
    assert [one.repeat for one in first] == [0, 1]
    assert all(one.measured["tokens_per_second"] > 0 for one in first)
    assert run(repeats=2, budget_seconds=0.1) == first
    assert run(repeats=3, budget_seconds=1000.0)[:2] == first


@pytest.mark.parametrize("text", ["9b:512", "1b", "1b:many", "1b:500"])
def test_cells_that_do_not_exist_are_refused(text):
    with pytest.raises(ValueError, match="must"):
        Cell.parse(text)


OTHERS = [
    reading("1b:512", "trainer", 500.0, device="another"),
    reading("1b:512", "ours-8", 6_000.0, device="another"),
]


def test_devices_have_tables_of_their_own():
    with pytest.raises(ValueError, match="must be of one device, got made up, another"):
        summarize([*READINGS, *OTHERS])
    first, second = as_markdown([*READINGS, *OTHERS]).split("## another")
    assert first == as_markdown(READINGS) + "\n"
    assert "| 12.00x |" in second
    assert [part["device"] for part in as_data([*OTHERS, *READINGS])["devices"]] == ["another", "made up"]


def test_the_time_that_another_device_needs_is_no_guess_for_this_one():
    results = Results()
    results.add(reading("1b:512", "a", 1.0, wall=7.0, device="another"))
    assert results.expected_seconds("1b:512", "a", device="made up", otherwise=20) == 20


def test_the_plot_has_a_panel_for_every_device_and_model():
    titles = [title.text for title in figure([*READINGS, *OTHERS]).layout.annotations]
    assert titles == ["1b, made up", "1b, another"]


def test_the_plot_has_a_line_for_every_way_of_training():
    lines = {line.name: (list(line.x), list(line.y)) for line in figure(READINGS).data}
    assert list(lines) == ["trainer", "processes, best number", "ours-8", "ceiling", "ours-1"]
    assert lines["processes, best number"] == ([512], [8000.0])
    assert lines["trainer"] == ([512, 8192], [1000.0, 40_000.0])
    assert lines["ours-8"] == ([512, 1024, 8192], [25_000.0, 30_000.0, 56_000.0])


def test_a_plot_in_html_needs_nothing_else(tmp_path):
    write_plot(READINGS, tmp_path / "plot.html")
    page = (tmp_path / "plot.html").read_text()
    assert "processes, best number" in page and '<script src="' not in page


@pytest.mark.chromium
@pytest.mark.skipif(not any(map(shutil.which, BROWSERS)), reason="NO BROWSER: chromium must be on PATH")
def test_a_plot_in_svg_is_drawn_by_a_browser(tmp_path):
    write_plot([*READINGS, *OTHERS], tmp_path / "plot.svg")
    svg = (tmp_path / "plot.svg").read_text()
    assert ElementTree.fromstring(svg).tag.endswith("svg")
    assert "1b, another" in svg and "processes, best number" in svg


def test_a_plot_in_svg_is_refused_without_a_browser(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ValueError, match=r"an SVG needs one of chromium, .* --plot FILE\.html needs none"):
        write_plot(READINGS, tmp_path / "plot.svg")


def test_the_command_prints_the_table_of_a_file(tmp_path, capsys, monkeypatch):
    import packing

    path, plot = tmp_path / "results.jsonl", tmp_path / "plot.html"
    results = Results(path)
    for one in READINGS:
        results.add(one)
    command = ["packing.py", "--table", str(path), "--plot", str(plot), "--json"]
    monkeypatch.setattr(sys, "argv", command)
    assert packing.main() == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["devices"][0]["measurements"]
    assert "| 25.00x |" in printed.err
    assert "<html>" in plot.read_text()


def test_the_command_reads_several_files(tmp_path, capsys, monkeypatch):
    import packing

    paths = [tmp_path / name for name in ("one.jsonl", "two.jsonl")]
    for path, readings in zip(paths, (READINGS, OTHERS), strict=True):
        for one in readings:
            Results(path).add(one)
    monkeypatch.setattr(sys, "argv", ["packing.py", "--table", *map(str, paths)])
    assert packing.main() == 0
    printed = capsys.readouterr().out
    assert printed.index("## made up") < printed.index("| 25.00x |") < printed.index("## another")


def test_the_command_refuses_files_that_do_not_exist(monkeypatch, capsys, tmp_path):
    import packing

    monkeypatch.setattr(sys, "argv", ["packing.py", "--table", str(tmp_path / "none.jsonl")])
    with pytest.raises(SystemExit) as stopped:
        packing.main()
    assert stopped.value.code == 2 and "there is no" in capsys.readouterr().err


def test_the_command_refuses_a_variant_that_does_not_exist(monkeypatch, capsys):
    import packing

    monkeypatch.setattr(sys, "argv", ["packing.py", "--device", "cpu", "--variants", "ours-3"])
    with pytest.raises(SystemExit) as stopped:
        packing.main()
    assert stopped.value.code == 2
    assert "got ours-3" in capsys.readouterr().err


def test_processes_go_on_when_all_have_arrived(tmp_path):
    parties = [Rendezvous(str(tmp_path), name=str(number), parties=3) for number in range(3)]
    parties[0].arrive("timed")
    assert not parties[0].everyone("timed")
    with ThreadPoolExecutor(3) as threads:
        list(threads.map(lambda party: party.wait("warm"), parties))
    assert parties[0].everyone("warm")


def test_nobody_waits_for_a_process_that_gave_up(tmp_path):
    stays, leaves = (Rendezvous(str(tmp_path), name=name, parties=2) for name in "ab")
    leaves.give_up()
    with pytest.raises(DidNotFitError):
        stays.wait("warm")


def test_a_repeat_for_which_the_time_does_not_suffice_is_left():
    results = Results()
    runner = Runner(torch.device("cpu"), results, repeats=1, steps=1, pool_size=1)
    results.add(reading("tiny:256", "ceiling", 1.0, wall=500.0, device=runner._device))
    plans = [Plan(Cell.parse("tiny:512"), ("ceiling",))]
    assert runner.run(plans, budget_seconds=400.0) == 0
    assert len(results.readings) == 1
    assert runner.run(plans, budget_seconds=600.0) == 0
    assert [one.cell for one in results.readings] == ["tiny:256", "tiny:512"]
