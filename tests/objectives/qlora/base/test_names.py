"""Names of layers as PEFT matches them."""

from loratory.objectives.qlora.base.names import last_part, matching, unambiguous

LAYERS = {"text.layers.0.q_proj": (8, 8), "text.layers.1.q_proj": (8, 4), "text.layers.1.up_proj": (4, 8)}


def test_targets_match_last_parts_and_full_names_in_the_order_of_the_layers():
    assert list(matching(LAYERS, ("up_proj", "text.layers.0.q_proj"))) == [
        "text.layers.0.q_proj",
        "text.layers.1.up_proj",
    ]
    assert matching(LAYERS, ("proj",)) == {}


def test_a_name_of_its_own_stays_short():
    assert unambiguous("q_proj", matching(LAYERS, ("q_proj",)), ["text", "tower.k_proj"]) == ("q_proj",)


def test_a_name_that_other_modules_have_becomes_full_names():
    found = unambiguous("q_proj", matching(LAYERS, ("q_proj",)), ["tower.layers.0.q_proj"])
    assert found == ("text.layers.0.q_proj", "text.layers.1.q_proj")


def test_a_number_is_never_a_target():
    assert unambiguous("0", ["text.projections.0"], []) == ("text.projections.0",)


def test_last_part():
    assert (last_part("a.b.c"), last_part("c")) == ("c", "c")
