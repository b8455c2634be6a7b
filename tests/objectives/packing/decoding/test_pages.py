import numpy as np
import pytest

from loratory.objectives.packing.decoding.pages import PAGE, PageTable, pages_for


def test_no_page_belongs_to_two_rows_and_none_is_lost():
    draw, table = np.random.default_rng(0), PageTable(rows=8, pages=20, positions=80)
    lengths = [0] * 8
    for _ in range(300):
        row = int(draw.integers(8))
        if draw.random() < 0.3:
            table.release(row)
            lengths[row] = 0
        elif table.extend(row, wanted := int(draw.integers(1, 81))):
            lengths[row] = max(lengths[row], wanted)
        else:
            assert pages_for(wanted) - pages_for(lengths[row]) > table.free
        taken = table.numbers[table.numbers < 20]
        assert len(set(taken)) == len(taken) == 20 - table.free == sum(map(pages_for, lengths))
        assert all(len(set(table.places(row, n) // PAGE)) == pages_for(n) for row, n in enumerate(lengths))


def test_a_row_without_pages_lies_in_the_page_of_padding():
    table = PageTable(rows=2, pages=5, positions=40)
    assert table.extend(1, 17) and not table.extend(0, 16 * 4)
    assert (table.first(4) == [[5, 5, 5], [*table.numbers[1, :2], 5], [5, 5, 5], [5, 5, 5]]).all()
    assert table.first(1).tolist() == [[5, 5, 5]]
    table.release(1)
    assert table.free == 5 and (table.numbers == 5).all()


def test_places_follow_each_other_within_a_page_only():
    table = PageTable(rows=2, pages=4, positions=40)
    table.extend(0, 3), table.extend(1, 3), table.extend(0, 20)
    first, second = table.numbers[0, :2]
    places = table.places(0, 20)
    assert places.tolist() == [
        *range(first * PAGE, first * PAGE + 16),
        *range(second * PAGE, second * PAGE + 4),
    ]


def test_too_few_pages_for_a_whole_row_are_refused():
    with pytest.raises(ValueError, match="pages: must be at least 3 for a whole row, got 2"):
        PageTable(rows=2, pages=2, positions=33)
