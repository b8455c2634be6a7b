"""The packed engine's part of the benchmark, on a CPU, and when a pack has warmed up."""

import pytest
import torch
from packing_cells.decoding import DecodeLoad
from packing_cells.device_memory import DeviceMemory
from packing_cells.measured import Options
from packing_cells.ours import PackRun, _timed, build_pack, fresh_adapter, measure_ours
from packing_cells.ours_decoding import measure_decoding_ours
from packing_cells.refill import refill_cost
from packing_cells.shapes import ModelShape
from packing_cells.warmup import warm_up
from packing_cells.workload import LOGNORMAL, fixed

from loratory.objectives.packing.slot_copy import SlotState
from loratory.objectives.packing.stack import named

CPU = torch.device("cpu")
PASSES = {"tokens_per_pass": 512}
SMALL = ModelShape(
    name="small",
    layers=1,
    hidden=64,
    intermediate=128,
    heads=4,
    key_value_heads=2,
    vocabulary=300,
    positions=512,
)


class Passes:
    """Passes that capture graphs where they are told to."""

    def __init__(self, *captures, most=None):
        self.made, self._captures, self._most, self.graphs = 0, set(captures), most, []

    def advance(self):
        self.made += 1
        if self.made in self._captures:
            self.graphs = [*self.graphs, self.made][-(self._most or 99) :]


@pytest.mark.parametrize(
    ("captures", "enough", "made"),
    [((1,), 3, 7), ((1, 5), 3, 11), ((), 9, 9), (range(1, 100), 3, 60), (range(1, 100), 70, 70)],
)
def test_a_pack_is_warm_when_no_graph_was_captured_for_six_passes(captures, enough, made):
    passes = Passes(*captures)
    found = warm_up(
        passes.advance, enough=lambda: passes.made >= enough, captured=lambda: passes.graphs, quiet_passes=6
    )
    assert (found, passes.made) == (made, made)


def test_a_graph_that_drives_out_another_counts_as_captured():
    passes = Passes(1, 2, 3, 4, most=1)
    assert warm_up(passes.advance, enough=lambda: True, captured=lambda: passes.graphs, quiet_passes=6) == 10


def test_without_graphs_the_steps_of_the_warm_up_are_enough():
    passes = Passes()
    assert warm_up(passes.advance, enough=lambda: passes.made >= 2, captured=None, quiet_passes=6) == 2


def test_a_pack_trains_the_tokens_of_its_steps():
    measured = measure_ours(SMALL, fixed(256), slots=2, steps=3, options=Options(device=CPU))
    assert (measured.trials, measured.steps) == (2, 3)
    assert measured.tokens_per_second * measured.seconds == pytest.approx(2 * 3 * 256)
    assert measured.details["passes"] == measured.details["warmup_passes"] == 3
    assert "refill_pack_steps" not in measured.details


def test_uneven_lengths_do_not_repeat_while_they_are_timed():
    measured = measure_ours(SMALL, LOGNORMAL, slots=4, steps=3, options=Options(device=CPU, warmup_steps=1))
    assert measured.tokens_per_second > 0
    assert measured.details["graphs_captured_while_timed"] == 0


def test_the_cost_of_refilling_a_slot_is_measured_at_512_tokens():
    measured = measure_ours(SMALL, fixed(512), slots=4, steps=1, options=Options(device=CPU, warmup_steps=1))
    assert {"refill_seconds", "refill_pack_steps"} <= measured.details.keys()


def test_a_refilled_slot_begins_anew_and_its_neighbour_goes_on():
    pack = build_pack(SMALL, slots=2, options=Options(device=CPU))
    run = PackRun(pack, SMALL, fixed(256), steps=4, seed=0, tokens_per_pass=1024)
    run.advance()
    before = pack.stack.master.clone()
    fresh = fresh_adapter(pack.model, seed=9)
    run.refill(1, SlotState(matrices=fresh))
    assert torch.equal(pack.stack.master[0], before[0])
    refilled = named(pack.stack.compact(pack.stack.master[1], fresh), fresh)
    assert all(torch.equal(matrix, fresh[name]) for name, matrix in refilled.items())
    run.advance()
    assert run.updates == 4


def test_tokens_count_by_pass_where_the_clock_starts_in_the_middle_of_a_step():
    options = Options(device=CPU)
    run = PackRun(build_pack(SMALL, slots=2, options=options), SMALL, fixed(512), steps=4, seed=0, **PASSES)
    run.advance()
    assert (run.tokens, run.updates) == (512, 0)
    measured = _timed(run, steps=2, options=options, memory=DeviceMemory(CPU, context_bytes=0))
    assert measured.details["passes"] == 3
    assert measured.tokens_per_second * measured.seconds == pytest.approx(3 * 512)


def test_every_slot_has_its_turn_where_a_pass_has_no_room_for_all():
    run = PackRun(
        build_pack(SMALL, slots=3, options=Options(device=CPU)), SMALL, LOGNORMAL, steps=20, seed=0, **PASSES
    )
    while run.updates < 12:
        run.advance()
    assert min(run._steps) >= 2


def test_a_loss_that_is_not_finite_is_noticed():
    pack = build_pack(SMALL, slots=1, options=Options(device=CPU))
    run = PackRun(pack, SMALL, fixed(256), steps=4, seed=0, tokens_per_pass=512)
    pack.stack.master[0].fill_(float("nan"))
    pack.stack.refresh(0)
    run.advance()
    with pytest.raises(RuntimeError, match="not finite"):
        run.settle()


def test_refilling_is_timed_against_passes_without_it():
    clock = []
    cost = refill_cost(lambda: clock.append("pass"), lambda slot: clock.append(slot), slots=1, device=CPU)
    assert clock == 2 * ["pass", "pass", "pass", 0, "pass"]
    assert cost.keys() == {"refill_seconds", "refill_pack_steps"}


def test_all_adapters_decode_every_prompt_to_its_full_length():
    load = DecodeLoad(adapters=2, prompts=3, prompt_tokens=8, new_tokens=4)
    measured = measure_decoding_ours(SMALL, load, options=Options(device=CPU))
    assert measured.tokens_per_second * measured.seconds == pytest.approx(2 * 3 * 4)
    assert measured.details["rows"] == 512
