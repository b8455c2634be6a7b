"""The list of checks that a driver makes or leaves to a worker."""

from dataclasses import replace

import pytest

from loratory.objectives.qlora.base.architecture import read_architecture
from loratory.objectives.qlora.base.checks.driver import check_base
from loratory.objectives.qlora.base.reference import resolve_base
from loratory.spaces.errors import InputError

NEED_WEIGHTS = ["causal", "packing", "decoding"]


def results(checks):
    return {check.name: check.passed for check in checks}


def test_a_folder_is_checked_as_far_as_it_can_be_without_its_weights(make_study):
    study = make_study()
    reference = resolve_base(study.model)
    checks = check_base(study, read_architecture(reference), reference)
    assert results(checks) == {
        "decoder": True,
        "weights": True,
        "targets": True,
        "adapter_loads": True,
    } | dict.fromkeys(NEED_WEIGHTS)
    assert all(check.detail for check in checks)


def test_weights_of_a_hub_id_are_left_to_a_worker(make_study, monkeypatch):
    study = make_study()
    reference = resolve_base(study.model)
    monkeypatch.setattr(type(reference), "has_weights", property(lambda _: False))
    checks = check_base(study, read_architecture(reference), reference)
    assert results(checks)["weights"] is None
    assert replace(reference, revision="abc", location="some/base").has_weights is False


def test_targets_are_checked_before_adapters_are_made(make_study):
    study = make_study(training={"target_modules": ["c_attn"]})
    reference = resolve_base(study.model)
    with pytest.raises(InputError, match="'c_attn' matches none"):
        check_base(study, read_architecture(reference), reference)
