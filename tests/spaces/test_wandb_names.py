"""Names are legal here exactly where wandb itself takes them."""

import pytest
from pydantic import ValidationError

from loratory.spaces import StudySpec
from loratory.spaces.recorded import RECORDED
from loratory.spaces.tracking import WandbSpec

PROJECTS = [
    "loratory",
    "my project",
    "llm-1.0_x",
    "日本語",
    "a" * 128,
    "a" * 129,
    *(f"a{c}b" for c in "/\\#?%:"),
]
TAGS = ["a", "a" * 64, "a" * 65, "", "two words", "日本語"]


def taken(**fields) -> bool:
    try:
        WandbSpec.model_validate(fields)
    except ValidationError:
        return False
    return True


@pytest.mark.parametrize("project", PROJECTS)
def test_a_project_is_legal_where_wandb_takes_it(project):
    wandb = pytest.importorskip("wandb")
    try:
        wandb.Settings(project=project)
    except Exception:
        assert not taken(project=project)
    else:
        assert taken(project=project)


@pytest.mark.parametrize("tag", TAGS)
def test_a_tag_is_legal_where_wandb_takes_it(tag):
    wandb = pytest.importorskip("wandb")
    try:
        wandb.Settings(run_tags=(tag,))
    except Exception:
        assert not taken(tags=[tag])
    else:
        assert taken(tags=[tag])


@pytest.mark.parametrize("name", ["team/llm", "https://wandb.ai/me", "me@example.org", "my team", "", " "])
def test_an_entity_is_one_name(name):
    assert not taken(entity=name)
    assert taken(entity="my-team_1") and taken(entity=None)


def test_the_study_file_of_before_can_still_be_read_from_its_folder():
    study = {
        "name": "old",
        "objective": "toy",
        "space": {"rank": [2, 4]},
        "tracking": {"wandb": {"project": "team/llm", "entity": "a/b", "tags": [""]}},
        "resources": {"gpus_per_worker": 2},
    }
    read = StudySpec.model_validate(study, context=RECORDED)
    assert read.tracking.wandb.project == "team/llm" and read.resources.gpus_per_worker == 2
    with pytest.raises(ValidationError):
        StudySpec.model_validate(study)
