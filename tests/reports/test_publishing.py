import base64
import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import numpy as np
import pytest
from safetensors.numpy import save_file

from loratory.objectives.study_folder import ADAPTER_CONFIG, ADAPTER_WEIGHTS, StudyFolder
from loratory.reports.publishing import Staged, push, stage
from loratory.spaces import InputError, LoratoryError

MakeStudy = Callable[..., StudyFolder]
TOKEN = "hf_" + "a" * 34


@dataclass
class LoopbackHub:
    """What a server of the Hub's upload protocol was told. Weights go by LFS, text by the commit itself."""

    endpoint: str = ""
    tokens: set[str | None] = field(default_factory=set)
    created: list[dict[str, Any]] = field(default_factory=list)
    blobs: dict[str, bytes] = field(default_factory=dict)
    commits: list[list[dict[str, Any]]] = field(default_factory=list)
    refuse: int | None = None

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, Any]:
        if self.refuse:
            return self.refuse, {"error": "not for you"}
        if path == "/api/repos/create":
            self.created.append(json.loads(body))
            return 200, {"url": f"{self.endpoint}/me/docs-lora"}
        if path == "/api/validate-yaml":
            return 200, {"errors": [], "warnings": []}
        if re.fullmatch(r"/api/models/me/docs-lora/preupload/main", path):
            files = json.loads(body)["files"]
            mode = {True: "lfs", False: "regular"}
            return 200, {
                "files": [
                    {"path": f["path"], "uploadMode": mode[f["path"].endswith("s")], "shouldIgnore": False}
                    for f in files
                ]
            }
        if path == "/me/docs-lora.git/info/lfs/objects/batch":
            return 200, {"transfer": "basic", "objects": [self._lfs(o) for o in json.loads(body)["objects"]]}
        if method == "PUT" and path.startswith("/lfs/"):
            self.blobs[path.removeprefix("/lfs/")] = body
            return 200, {}
        if path == "/api/models/me/docs-lora/commit/main":
            self.commits.append([json.loads(line) for line in body.splitlines()])
            oid = "c" * 40
            return 200, {"commitOid": oid, "commitUrl": f"{self.endpoint}/me/docs-lora/commit/{oid}"}
        return 404, {"error": f"unknown {method} {path}"}

    def _lfs(self, wanted: dict[str, Any]) -> dict[str, Any]:
        upload = {"href": f"{self.endpoint}/lfs/{wanted['oid']}"}
        return {"oid": wanted["oid"], "size": wanted["size"], "actions": {"upload": upload}}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[LoopbackHub]:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    held = LoopbackHub()

    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            held.tokens.add(self.headers.get("authorization"))
            status, content = held.answer(self.command, self.path, self._body())
            data = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def _body(self) -> bytes:
            if self.headers.get("transfer-encoding") != "chunked":
                return self.rfile.read(int(self.headers.get("content-length") or 0))
            parts = []
            while length := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(length))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)

        do_GET = do_POST = do_PUT = _serve  # noqa: N815 - the names that http.server looks for

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    held.endpoint = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield held
    server.shutdown()
    thread.join()
    server.server_close()


def staged(study: StudyFolder, **options: Any) -> Staged:
    return stage(study, **{"trial": None, "repo_id": "me/docs-lora", **options})


def replace_config(study: StudyFolder, **changes: Any) -> None:
    path = study.adapter("0007") / ADAPTER_CONFIG
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_stages_the_best_adapter_as_three_files(study: StudyFolder) -> None:
    found = staged(study)
    assert found.trial == 7
    names = ["adapter_model.safetensors", "adapter_config.json", "README.md"]
    assert [file.name for file in found.files] == names
    assert sorted(path.name for path in found.path.iterdir()) == sorted(names)
    for file, line in zip(found.files, found.lines()[1:], strict=True):
        content = (found.path / file.name).read_bytes()
        assert file.sha256 == hashlib.sha256(content).hexdigest()
        assert file.sha256 in line
        assert file.name in line
        assert max(map(len, line.splitlines())) <= 80
    assert (found.path / ADAPTER_WEIGHTS).read_bytes() == (
        study.adapter("0007") / ADAPTER_WEIGHTS
    ).read_bytes()


def test_config_keeps_the_base_and_its_commit_as_the_engine_resolved_them(study: StudyFolder) -> None:
    found = staged(study)
    config = json.loads((found.path / ADAPTER_CONFIG).read_text())
    assert config == json.loads((study.adapter("0007") / ADAPTER_CONFIG).read_text())
    assert config["base_model_name_or_path"] == "acme/tiny-llama"
    assert config["revision"] == "0123456789abcdef0123456789abcdef01234567"
    assert "revision='0123456789abcdef0123456789abcdef01234567'" in (found.path / "README.md").read_text()


def test_card_loads_a_multimodal_release_with_the_class_it_was_published_with(study: StudyFolder) -> None:
    assert "AutoModelForCausalLM.from_pretrained(" in (staged(study).path / "README.md").read_text()
    published = {
        "base_model_class": "Mistral3ForConditionalGeneration",
        "parent_library": "transformers.models.mistral3.modeling_mistral3",
    }
    replace_config(study, auto_mapping=published)
    card = (staged(study).path / "README.md").read_text()
    assert (
        "from transformers import AutoTokenizer, BitsAndBytesConfig, Mistral3ForConditionalGeneration" in card
    )
    assert "base = Mistral3ForConditionalGeneration.from_pretrained(" in card
    assert "AutoModelForCausalLM" not in card


def test_commit_of_another_copy_is_not_kept(study: StudyFolder) -> None:
    found = staged(study, base_id="acme/mirror")
    config = json.loads((found.path / ADAPTER_CONFIG).read_text())
    assert (config["base_model_name_or_path"], config["revision"]) == ("acme/mirror", None)
    assert "revision=" not in (found.path / "README.md").read_text()


def test_staging_again_replaces_what_was_staged(study: StudyFolder) -> None:
    first = staged(study)
    assert staged(study) == first
    assert staged(study, trial=1).trial == 1
    assert "trial 1" in (first.path / "README.md").read_text()


@pytest.mark.parametrize("base", ["builtin:quickstart", "/srv/models/llama", "./llama", "models/llama"])
def test_base_that_is_not_on_the_hub_needs_a_name(make_study: MakeStudy, base: str) -> None:
    study = make_study(model={"base": base})
    replace_config(study, base_model_name_or_path=None, revision=None)
    with pytest.raises(
        InputError, match=r"name its id with --base-id \(before a study begins: model\.hub_id\)"
    ):
        staged(study)
    assert staged(study, base_id="acme/named").base_id == "acme/named"


def test_hub_id_of_the_study_file_is_used_without_another_copys_revision(make_study: MakeStudy) -> None:
    study = make_study(model={"base": "/srv/llama", "hub_id": "acme/named"})
    replace_config(study, base_model_name_or_path="acme/named", revision=None)
    found = staged(study)
    config = json.loads((found.path / ADAPTER_CONFIG).read_text())
    assert (config["base_model_name_or_path"], config["revision"]) == ("acme/named", None)


@pytest.mark.parametrize(
    "repo_id", ["name", "me/", "me/a b", "a/b/c", "me/../x", "me/a--b", "me/x.git", "/me/x"]
)
def test_bad_repository_names_are_refused(study: StudyFolder, repo_id: str) -> None:
    with pytest.raises(InputError, match="--repo must be owner/name"):
        staged(study, repo_id=repo_id)


@pytest.mark.parametrize("trial", [2, 4, 8, 11, 99])
def test_only_ranked_trials_are_published(study: StudyFolder, trial: int) -> None:
    with pytest.raises(InputError, match=f"trial {trial} to be complete.*ranked are: 7, 10"):
        staged(study, trial=trial)


def test_trial_without_an_adapter_is_refused(study: StudyFolder) -> None:
    record = study.read_records()[7]
    study.write_record(record.model_copy(update={"adapter": None}))
    with pytest.raises(InputError, match="trial 7 kept none"):
        staged(study)


def test_weights_that_were_not_the_scored_ones_are_refused(study: StudyFolder) -> None:
    tensors = {"base_model.model.q_proj.lora_A.weight": np.ones((4, 8), dtype=np.float32)}
    save_file(tensors, study.adapter("0007") / ADAPTER_WEIGHTS)
    with pytest.raises(InputError, match="must be the adapter that was scored"):
        staged(study)


def test_torn_weights_are_refused(study: StudyFolder) -> None:
    path = study.adapter("0007") / ADAPTER_WEIGHTS
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(InputError, match="must be whole safetensors"):
        staged(study)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"auto_mapping": {"parent": "/home/me/model.py"}}, "no path of a machine"),
        ({"tokenizer": "C:\\models\\x"}, "no path of a machine"),
        ({"hub_token": TOKEN}, "Hugging Face token"),
        ({"peft_type": "IA3"}, "must be a LoRA configuration"),
    ],
)
def test_config_with_paths_or_secrets_is_refused(
    study: StudyFolder, change: dict[str, Any], says: str
) -> None:
    replace_config(study, **change)
    with pytest.raises(InputError, match=says) as refused:
        staged(study)
    assert TOKEN not in str(refused.value)
    assert not (study.path / "publish").exists()


def test_stranger_in_the_staging_folder_is_refused(study: StudyFolder) -> None:
    folder = staged(study).path
    (folder / "training_args.bin").write_bytes(b"token")
    with pytest.raises(InputError, match=r"holds 'training_args\.bin'"):
        staged(study)


def test_push_makes_one_commit_of_the_three_files(study: StudyFolder, hub: LoopbackHub) -> None:
    found = staged(study)
    url = push(found, token=TOKEN, endpoint=hub.endpoint)
    assert url == f"{hub.endpoint}/me/docs-lora/commit/{'c' * 40}"
    assert hub.tokens - {None} == {f"Bearer {TOKEN}"}
    assert [(c["organization"], c["name"]) for c in hub.created] == [("me", "docs-lora")]
    (commit,) = hub.commits
    assert commit[0]["value"]["summary"] == "Trial 7, by loratory"
    regular = {line["value"]["path"]: line["value"] for line in commit if line["key"] == "file"}
    lfs = {line["value"]["path"]: line["value"] for line in commit if line["key"] == "lfsFile"}
    assert len(commit) == 4
    assert set(regular) == {"README.md", "adapter_config.json"}
    for name, value in regular.items():
        assert base64.b64decode(value["content"]) == (found.path / name).read_bytes()
    weights = (found.path / ADAPTER_WEIGHTS).read_bytes()
    assert lfs[ADAPTER_WEIGHTS]["oid"] == hashlib.sha256(weights).hexdigest()
    assert hub.blobs == {lfs[ADAPTER_WEIGHTS]["oid"]: weights}


def test_file_changed_after_it_was_shown_is_not_uploaded(study: StudyFolder, hub: LoopbackHub) -> None:
    found = staged(study)
    (found.path / "README.md").write_text("something else")
    with pytest.raises(InputError, match=r"README\.md: must be as it was staged"):
        push(found, token=TOKEN, endpoint=hub.endpoint)
    assert hub.tokens == set()


def test_push_without_a_token_says_how_to_get_one(
    study: StudyFolder, hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: None)
    with pytest.raises(InputError, match="set HF_TOKEN"):
        push(staged(study), endpoint=hub.endpoint)
    assert hub.tokens == set()


@pytest.mark.parametrize(("status", "says"), [(401, "does not accept the token"), (403, "write permission")])
def test_refusals_of_the_hub_are_one_line(
    study: StudyFolder, hub: LoopbackHub, status: int, says: str
) -> None:
    hub.refuse = status
    with pytest.raises(InputError, match=says) as refused:
        push(staged(study), token=TOKEN, endpoint=hub.endpoint)
    assert "\n" not in str(refused.value)
    assert TOKEN not in str(refused.value)


def test_hub_that_cannot_be_reached_keeps_what_is_staged(study: StudyFolder, hub: LoopbackHub) -> None:
    found = staged(study)
    with pytest.raises(LoratoryError, match="cannot reach the Hub") as failed:
        push(found, token=TOKEN, endpoint="http://127.0.0.1:9")
    assert "\n" not in str(failed.value)
    assert not isinstance(failed.value, InputError)
    assert len(list(found.path.iterdir())) == 3
