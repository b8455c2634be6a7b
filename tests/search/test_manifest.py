import pytest

from loratory.objectives.objective import Beginning, Prepared
from loratory.objectives.study_folder import StudyFolder
from loratory.search.manifest import beginning_of, open_manifest
from loratory.spaces import InputError


def test_a_study_keeps_its_uuid_and_may_be_given_more_trials(toy_study, tmp_path):
    folder = StudyFolder(tmp_path / "toy")
    first = open_manifest(folder, toy_study(trials=5), Prepared(hashes={"data": "a"}), Beginning.now())
    second = open_manifest(
        folder,
        toy_study(trials=9, pruner="none", packing={"slots": 4}),
        Prepared(hashes={"data": "a"}),
        Beginning.now(),
    )
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
    open_manifest(folder, toy_study(), Prepared(), Beginning.now())
    before = folder.manifest.read_bytes()
    with pytest.raises(InputError, match=words) as caught:
        open_manifest(folder, toy_study(**change), Prepared(), Beginning.now())
    assert "\n" not in str(caught.value)
    assert folder.manifest.read_bytes() == before


def test_changed_data_is_refused(toy_study, tmp_path):
    folder = StudyFolder(tmp_path / "toy")
    open_manifest(folder, toy_study(), Prepared(hashes={"data": "a"}), Beginning.now())
    with pytest.raises(InputError, match="data must be what the study began with"):
        open_manifest(folder, toy_study(), Prepared(hashes={"data": "b"}), Beginning.now())


def test_a_study_keeps_the_time_at_which_it_began(toy_study, tmp_path):
    folder = StudyFolder(tmp_path / "toy")
    began = Beginning(created_at="2026-01-31T23:59:00+00:00")
    assert beginning_of(folder).created_at > began.created_at
    open_manifest(folder, toy_study(), Prepared(), began)
    assert beginning_of(folder) == Beginning(created_at=began.created_at, cache=folder.data)
    assert open_manifest(folder, toy_study(), Prepared(), Beginning.now()).created_at == began.created_at
