import pytest

from loratory.objectives.study_folder import StudyFolder
from loratory.search.manifest import open_manifest
from loratory.spaces import InputError


def test_a_study_keeps_its_uuid_and_may_be_given_more_trials(toy_study, tmp_path):
    folder = StudyFolder(tmp_path / "toy")
    first = open_manifest(folder, toy_study(trials=5), {"data": "a"})
    second = open_manifest(folder, toy_study(trials=9, pruner="none", packing={"slots": 4}), {"data": "a"})
    assert first.uuid == second.uuid
    assert folder.read_manifest() == second
    assert second.spec.trials == 9


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"seed": 1}, "seed was 0, is 1"),
        ({"evaluation": {"evaluations": 5}}, "evaluation.evaluations was 4, is 5"),
        ({"training": {"dropout": 0.2}}, "training.dropout was 0.05, is 0.2"),
        ({"space": {"rank": [2, 8]}}, "space.learning_rate was"),
        ({"metric": "bleu"}, "metric was 'rougeL', is 'bleu'"),
    ],
)
def test_a_changed_study_file_is_refused_with_the_key_and_both_values(toy_study, tmp_path, change, words):
    folder = StudyFolder(tmp_path / "toy")
    open_manifest(folder, toy_study(), {})
    before = folder.manifest.read_bytes()
    with pytest.raises(InputError, match=words) as caught:
        open_manifest(folder, toy_study(**change), {})
    assert "\n" not in str(caught.value)
    assert folder.manifest.read_bytes() == before


def test_changed_data_is_refused(toy_study, tmp_path):
    folder = StudyFolder(tmp_path / "toy")
    open_manifest(folder, toy_study(), {"data": "a"})
    with pytest.raises(InputError, match="data must be what the study began with"):
        open_manifest(folder, toy_study(), {"data": "b"})
