"""The slots that workers choose, by the benchmark's program."""

from packing_cells.shapes import SHAPES
from packing_cells.study_files import tokenizer
from slots import Chooser


def test_slots_keep_most_of_the_speed_unless_a_file_fixes_them(tmp_path):
    SHAPES["tiny"].configuration().save_pretrained(tmp_path)
    tokenizer(SHAPES["tiny"].vocabulary).save_pretrained(tmp_path)
    chooser = Chooser(tmp_path, gpu="H100", length=64)
    (alone, seconds), (beside, _) = chooser.choose(48, 1, None), chooser.choose(48, 8, None)
    fixed, with_all = chooser.choose(48, 1, 16)
    assert beside.slots <= alone.slots <= fixed.slots == 16
    assert 0.8 * seconds <= with_all
