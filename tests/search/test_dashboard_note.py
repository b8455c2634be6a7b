"""The verdict as the study's note: as optuna-dashboard reads it, and beside what people wrote."""

import optuna
import pytest
from optuna_dashboard import get_note, save_note

from loratory.objectives.study_folder import StudyFolder
from loratory.reports.verdict_file import StudyVerdict
from loratory.search import confirm_study, run_study
from loratory.search.dashboard_note import HEADING, keep_note


@pytest.fixture
def rows() -> optuna.Study:
    return optuna.create_study()


def found(*sentences: str) -> StudyVerdict:
    return StudyVerdict(verdict=sentences)


def version(rows: optuna.Study) -> int:
    return rows._storage.get_study_system_attrs(rows._study_id)["dashboard:note_ver"]


def test_the_dashboard_reads_what_was_written_also_a_long_and_then_a_short_one(rows):
    sentences = [f"Trial {number} is best." for number in range(400)]
    keep_note(rows, found(*sentences))
    assert get_note(rows) == "\n\n".join([HEADING, *sentences]) and version(rows) == 1
    keep_note(rows, found("Trials 1 and 2 may be best."))
    assert get_note(rows) == f"{HEADING}\n\nTrials 1 and 2 may be best." and version(rows) == 2
    keep_note(rows, found("Trials 1 and 2 may be best."))
    assert version(rows) == 2, "nothing new, nothing written"


def test_what_people_wrote_above_stays(rows):
    save_note(rows, "Ask Ada before publishing.")
    keep_note(rows, found("Trial 1 is best."))
    keep_note(rows, found("Trial 2 is best."))
    assert get_note(rows) == f"Ask Ada before publishing.\n\n{HEADING}\n\nTrial 2 is best."


def test_what_people_wrote_below_stays(rows):
    keep_note(rows, found("Trial 1 is best.", "On test: +0.1."))
    save_note(rows, f"{get_note(rows)}\n\nBen: published on Friday.\n\n## Later\n\n- ask Ada")
    for name in (2, 3):
        keep_note(rows, found(f"Trial {name} is best."))
        below = "Ben: published on Friday.\n\n## Later\n\n- ask Ada"
        assert get_note(rows) == f"{HEADING}\n\nTrial {name} is best.\n\n{below}"


def test_what_people_wrote_between_our_sentences_stays_below(rows):
    keep_note(rows, found("Trial 1 is best.", "On test: +0.1."))
    save_note(rows, get_note(rows).replace("best.\n\n", "best.\n\nBen: really?\n\n"))
    keep_note(rows, found("Trial 2 is best."))
    assert get_note(rows) == f"{HEADING}\n\nTrial 2 is best.\n\nBen: really?"


def test_hostile_text_is_text(rows):
    keep_note(rows, found("<script>alert(1)</script> [x](http://evil) `a`"))
    assert "<script>" not in get_note(rows).replace("\\<", "") and "\\[x\\]" in get_note(rows)


def test_a_run_writes_it_and_confirm_renews_it_where_the_storage_is(toy_study, tmp_path):
    study = toy_study(trials=4, confirmation=None)
    result = run_study(study, runs=tmp_path, local=True)
    folder = StudyFolder(tmp_path / "toy")
    stored = optuna.load_study(study_name="toy", storage=f"sqlite:///{folder.database}")
    assert stored.metric_names == [study.metric]
    assert result.comparison.verdict[0] in get_note(stored)
    confirm_study(folder, top=1, seeds=1, local=True)
    again = optuna.load_study(study_name="toy", storage=f"sqlite:///{folder.database}")
    assert "7 further trials" not in get_note(again) and HEADING in get_note(again)
    folder.database.write_bytes(b"no database")
    notes = confirm_study(folder, seeds=2, local=True).notes
    assert any("not in the storage's note" in note for note in notes)
