import pytest

from loratory.reports.findings import CheapestWithin, Findings, Gain, Interval, Member
from loratory.reports.verdict import verdict


def member(key, *, size=1000, value=0.25):
    return Member(key=key, shown=key, value=value, behind=0.0, adapter_bytes=size)


def found(*members, **fields):
    plain = {
        "published": "11",
        "published_shown": "11",
        "published_bytes": 1000,
        "ranked": 12,
        "value": 0.25,
        "may_be_best": members,
        "unit": "example",
        "examples": 150,
        "shortfall": 0.02,
    }
    return Findings(**(plain | fields))


def within(key=None, *, size=None, needed=None, margin=0.05):
    return CheapestWithin(margin=margin, key=key, shown=key, adapter_bytes=size, examples_needed=needed or {})


def test_a_set_with_none_within_the_margin():
    sentences = verdict(
        found(
            member("11"),
            member("8", size=500),
            cheapest_within=(within(needed={"8": 664, "11": 200}),),
            gains=(
                Gain(split="select", gain=0.185),
                Gain(split="test", gain=0.167, interval=Interval(low=0.13, high=0.2)),
            ),
        )
    )
    assert sentences == (
        "Trials 11 and 8 may be best.",
        "None is shown to be within 5% of the best (some 660 examples would show it for 8, which is half the "
        "size of 11); publishing 11 costs at most 8% against the best of them.",
        "On test: +0.1670 [0.1300, 0.2000] over the base.",
    )


@pytest.mark.parametrize(
    ("needed", "told"),
    [
        ({"8": 5000, "11": 200}, "(some 200 examples would show it for 11)"),
        ({"8": 5000, "11": 9000}, "(some 5,000 examples would show it for 8, which is half the size of 11)"),
        ({}, "within 5% of the best;"),
    ],
)
def test_examples_that_would_show_it(needed, told):
    told_of = found(member("11"), member("8", size=500), cheapest_within=(within(needed=needed),))
    assert told in verdict(told_of)[1]


def test_one_within_the_margin():
    smaller = found(member("11"), member("8"), cheapest_within=(within("8", size=250),))
    assert verdict(smaller)[1].startswith("Trial 8, which is 1/4 the size of 11, is within 5% of the best;")
    little = found(member("11"), member("8"), cheapest_within=(within("8", size=700),))
    assert verdict(little)[1].startswith("Trial 8, which is 30% smaller than 11, is within 5% of the best;")
    same = found(member("11"), member("8"), cheapest_within=(within("11", size=1000),))
    assert verdict(same)[1].startswith("Trial 11 is within 5% of the best, and the smallest that is shown")


def test_sets_of_one_and_of_many():
    assert verdict(found(member("11"))) == ("Trial 11 is best of 12: no other may be, with 95% confidence.",)
    many = found(*(member(str(number)) for number in range(11, 18)))
    assert verdict(many)[0] == "7 of 12 trials may be best, trial 11 first."


def test_where_nothing_tells():
    assert verdict(None) == ("No trial is ranked: none has completed with finite scores.",)
    assert verdict(found(ranked=1, unit=None))[0] == "Trial 11 is the only one that finished."
    without = found(unit=None)
    assert verdict(without) == (
        "Trial 11 has the best value of 12.",
        "Without scores per example nothing tells how sure that is.",
    )
    unbounded = found(member("11"), member("8"), shortfall=None)
    assert verdict(unbounded)[1] == "What a wrong choice costs is not known."


def test_cost_of_a_metric_at_zero_has_no_share():
    at_zero = found(member("11"), member("8"), value=0.0, shortfall=0.03)
    assert "publishing 11 costs at most 0.0300 against" in verdict(at_zero)[1].lower()


def test_tied_files():
    tied = found(member("11"), member("8"), shortfall=0.0)
    assert verdict(tied)[1] == "None of them is better than 11."


@pytest.mark.parametrize(
    ("looks", "line"),
    [
        ((), None),
        (("11",), None),
        (("8",), "Test was looked at for trial 8, not yet for trial 11."),
        (("8", "11"), "Test was looked at twice: first for trial 8."),
        (("11", "8"), "Test was looked at twice: first for trial 11."),
        (("8", "6"), "Test was looked at twice: first for trial 8, not yet for trial 11."),
        (("8", "6", "confirm/0011-1", "11"), "Test was looked at 4 times: first for trial 8."),
    ],
)
def test_looks_at_test(looks, line):
    assert verdict(found(member("11"), test_looks=looks))[1:] == ((line,) if line else ())


def test_what_intervals_cannot_do_and_what_is_left_out_is_said():
    rough = found(member("11"), cautions=("Few groups (4): intervals are rough.",), left_out={"0003": "why"})
    assert verdict(rough)[1:] == (
        "Few groups (4): intervals are rough.",
        "Not compared with the others: trial 3 (why).",
    )
    many = found(member("11"), left_out={"0003": "no scores", "0004": "other examples", "0005": "x"})
    assert verdict(many)[1] == "Not compared with the others: trial 3 and 2 others (no scores)."


def test_a_margin_for_one_trial_and_a_cost_for_all_at_once_are_no_contradiction():
    same = found(member("11"), member("8"), cheapest_within=(within("11", size=1000),), shortfall=0.0174)
    assert "publishing 11 costs at most 7%" in verdict(same)[1]
    assert verdict(same)[1].endswith(
        "The 5% hold for one trial alone; what publishing costs holds for all of them at once, and is wider "
        "for that."
    )
    less = same.model_copy(update={"shortfall": 0.25 * 0.04})
    assert "alone" not in verdict(less)[1]


def test_a_left_out_trial_with_the_best_value_is_named_first():
    several = found(
        member("8"), first="0011", left_out={"0003": "it is damaged", "0011": "it has no scores", "0004": "x"}
    )
    assert verdict(several)[-1] == (
        "Not compared with the others: trial 11, which has the best value of all, and 2 others "
        "(it has no scores)."
    )


def test_gains_say_what_was_taken_off():
    gain = Gain(split="confirm", gain=0.15, interval=Interval(low=0.1, high=0.2), chose=True, optimism=0.01)
    assert verdict(found(member("11"), gains=(gain,)))[1] == (
        "On confirm, less what the choice by it adds: +0.1500 [0.1000, 0.2000] over the base."
    )
    unknown = gain.model_copy(update={"optimism": None, "interval": None})
    assert verdict(found(member("11"), gains=(unknown,)))[1] == (
        "On confirm, which had a say in the choice and flatters it: +0.1500 over the base."
    )
