from pathlib import Path

import pytest

from quickstart_base.answers import AnswerFilter
from quickstart_base.manifest import CorpusManifest, Source, read_manifest
from quickstart_base.sources import is_permissive, usable_files


@pytest.mark.parametrize(
    ("licence", "permissive"),
    [
        ("MIT", True),
        ("Apache 2.0 License", True),
        ("LGPL-3.0-only", False),
        ("", False),
        ("MIT OR GPL-2.0", False),
    ],
)
def test_only_declared_permissive_licences_count(licence: str, permissive: bool) -> None:
    assert is_permissive(licence) is permissive


def test_what_is_not_to_be_learned_is_left_out(tmp_path: Path) -> None:
    texts = {
        "pkg/good.py": "a = 1\n",
        "pkg/same.py": "a = 1\n",
        "pkg/long.py": f"a = '{'x' * 1000}'\n",
        "pkg/empty.py": "",
        "pkg/answer.py": '"""Return the\nanswer to it."""\n',
        "pkg/tests/test_good.py": "b = 1\n",
        "pkg/_vendor/other.py": "c = 1\n",
    }
    for path, text in texts.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    answers = AnswerFilter(["Return the answer to it."])
    files = usable_files(tmp_path, [*texts, "pkg/missing.py"], answers=answers, seen=set())
    assert [file.path for file in files] == ["pkg/good.py"]


def test_a_manifest_is_read_as_it_was_written_and_its_bytes_are_stable(tmp_path: Path) -> None:
    source = Source(name="a", version="1", licence="MIT", files={"a/b.py": "0123456789"})
    manifest = CorpusManifest(answers_of_pythons=["3.11.7"], sources=[source])
    manifest.write(tmp_path / "a.json.gz")
    manifest.write(tmp_path / "b.json.gz")
    assert read_manifest(tmp_path / "a.json.gz") == manifest
    assert (tmp_path / "a.json.gz").read_bytes() == (tmp_path / "b.json.gz").read_bytes()
