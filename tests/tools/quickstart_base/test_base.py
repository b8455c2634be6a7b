"""The base model in the package: its files, its loss, and no answers of the quickstart in its corpus."""

import json
import platform
import sysconfig
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from loratory.objectives.quickstart import base_folder
from loratory.objectives.quickstart.functions import read_source
from loratory.objectives.quickstart.stdlib import Split, module_name, split_of, stdlib_folder, stdlib_modules
from quickstart_base.answers import AnswerFilter
from quickstart_base.manifest import CorpusManifest, read_manifest, short_hash

HELD_OUT_MODULES = ("xml.sax.handler", "logging.handlers", "ipaddress")


@pytest.fixture(scope="module")
def manifest() -> CorpusManifest:
    return read_manifest(base_folder() / "corpus.json.gz")


@pytest.fixture(scope="module")
def held_out_texts() -> list[str]:
    modules = {module.name: module.path for module in stdlib_modules()}
    return [read_source(modules[name]) or "" for name in HELD_OUT_MODULES]


def test_the_folder_is_flat_and_small() -> None:
    files = list(base_folder().iterdir())
    assert all(path.is_file() for path in files)
    assert sum(path.stat().st_size for path in files) <= 12_000_000
    assert {path.name for path in files} == {
        "README.md",
        "config.json",
        "corpus.json.gz",
        "generation_config.json",
        "model.safetensors",
        "pretraining.json",
        "tokenizer.json",
        "tokenizer_config.json",
    }


def test_the_corpus_has_no_module_of_eval_or_test(manifest: CorpusManifest) -> None:
    (library,) = (source for source in manifest.sources if source.name == "python")
    assert len(library.files) > 300
    learned = {module_name(Path(path)) for path in library.files}
    assert {split_of(module) for module in learned} == {Split.TRAIN}
    assert learned.isdisjoint(
        module.name for module in stdlib_modules() if split_of(module.name) is not Split.TRAIN
    )


def test_no_file_of_the_corpus_holds_an_answer(manifest: CorpusManifest, answers: AnswerFilter) -> None:
    """Looks at all unchanged files of the library and, for time's sake, at a fixed quarter of the others."""
    looked_at, found = 0, []
    for source in manifest.sources:
        root = stdlib_folder() if source.name == "python" else Path(sysconfig.get_paths()["purelib"])
        for path, digest in source.files.items():
            if source.name != "python" and int(digest, 16) % 4 != 0:
                continue
            if not (root / path).is_file() or short_hash((root / path).read_bytes()) != digest:
                continue
            looked_at += 1
            found += [(path, answer) for answer in answers.found_in(read_source(root / path) or "")]
    if not looked_at:
        pytest.skip("no file of the corpus is installed here as it was")
    # Another release of Python may word an answer as some file of the corpus happens to.
    known = platform.python_version() in manifest.answers_of_pythons
    assert len(found) <= (0 if known else 0.01 * looked_at), found


def test_the_base_loads_and_predicts_python_that_it_has_not_seen(held_out_texts: list[str]) -> None:
    tokenizer = AutoTokenizer.from_pretrained(base_folder(), local_files_only=True)
    model = AutoModelForCausalLM.from_pretrained(base_folder(), local_files_only=True, dtype=torch.float32)
    ids = torch.tensor([tokenizer(text)["input_ids"][:512] for text in held_out_texts])
    with torch.no_grad():
        loss = float(model(input_ids=ids, labels=ids).loss)
    assert model.num_parameters() == 2_557_632
    # ln(4096) = 8.3 is what guessing costs.
    assert 1.0 < loss < 3.0


def test_the_tokenizer_round_trips_python(held_out_texts: list[str]) -> None:
    tokenizer = AutoTokenizer.from_pretrained(base_folder(), local_files_only=True)
    for text in [*held_out_texts, "\tx = 'é\u2028\U0001f40d'\r\n\n\n   \n", " ", ""]:
        assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id) == (0, 0, 1)
    assert tokenizer.chat_template is None
    assert len(tokenizer) == 4096


def test_every_quantised_matrix_is_made_of_whole_nf4_blocks() -> None:
    config = json.loads((base_folder() / "config.json").read_text())
    assert config["hidden_size"] % 64 == config["intermediate_size"] % 64 == 0
    assert config["tie_word_embeddings"] is True
