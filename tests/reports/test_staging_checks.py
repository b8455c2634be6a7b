from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from loratory.reports.staging_checks import check_weights, refuse_paths, refuse_secrets
from loratory.spaces import InputError


@pytest.mark.parametrize(
    "text",
    [
        "token hf_" + "A1b2" * 9,
        "ghp_" + "a" * 36,
        "AKIA" + "A" * 16,
        "-----BEGIN RSA PRIVATE KEY-----",
        "postgresql://me:secret@host/db",
        "key=sk-" + "x1" * 20,
        "sk-ant-api03-" + "Ab-" + "x1Yz" * 20,
        "sk_live_" + "x1" * 12,
        "wandb_v1_" + "Ab1" * 10,
    ],
)
def test_secrets_are_refused_without_repeating_them(text: str) -> None:
    with pytest.raises(InputError) as refused:
        refuse_secrets("README.md", text)
    assert text[-12:] not in str(refused.value)


@pytest.mark.parametrize(
    "text", ["/root", "in /home/me/x", '"/srv/a"', "~/models", "C:\\x", r"\\server\share", "file:///x"]
)
def test_paths_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="no path of a machine"):
        refuse_paths("README.md", text)


@pytest.mark.parametrize(
    "text",
    [
        "[a](https://huggingface.co/a/b)",
        "acme/llama",
        "and/or",
        "0.5 / 2",
        "q_proj",
        r"a\|b",
        "hf_short",
        "sk-learn-docs-generation-study-2026-second-attempt",
        "runs/sk-learn-docs-generation-study",
    ],
)
def test_ordinary_text_passes(text: str) -> None:
    refuse_paths("README.md", text)
    refuse_secrets("README.md", text)


@pytest.mark.parametrize("name", ["model.embed_tokens.weight", "classifier.lora_weights"])
def test_weights_beyond_lora_are_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "adapter_model.safetensors"
    save_file({"q.lora_A.weight": np.ones(2), name: np.ones(2)}, path)
    with pytest.raises(InputError, match=f"holds '{name}'"):
        check_weights(path)


def test_weights_with_a_path_in_their_header_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "adapter_model.safetensors"
    save_file({"q.lora_A.weight": np.ones(2)}, path, metadata={"source": "/home/me/run"})
    with pytest.raises(InputError, match="no path of a machine"):
        check_weights(path)


def test_bfloat16_weights_pass_without_torch(tmp_path: Path) -> None:
    header = b'{"q.lora_A.weight":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]}}'
    path = tmp_path / "adapter_model.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"\x00" * 4)
    check_weights(path)
