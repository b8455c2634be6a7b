"""`loratory publish`: stage, show, upload and verify an adapter."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from loratory.search.commands.options import FolderArgument
from loratory.spaces.errors import InputError, LoratoryError

if TYPE_CHECKING:
    from rich.console import Console

    from loratory.objectives.records import TrialRecord
    from loratory.objectives.study_folder import StudyFolder
    from loratory.spaces.study import StudySpec


def publish(
    folder: FolderArgument,
    repo: Annotated[str, typer.Option(help="Hub repository: me/name.")],
    trial: Annotated[
        str | None, typer.Option(help="Trial number, or key: confirm/0011-2; the study's choice by default.")
    ] = None,
    base_id: Annotated[
        str | None, typer.Option(help="The base's Hub id, where the study names none.")
    ] = None,
    push: Annotated[bool, typer.Option(help="Upload what is staged, in one commit.")] = False,
    verify: Annotated[bool, typer.Option(help="Score the adapter again and compare with its card.")] = False,
) -> None:
    """Stage the best adapter for the Hub; --push uploads it."""
    from rich.console import Console

    from loratory.objectives.study_folder import StudyFolder

    publish_adapter(
        StudyFolder(folder), Console(), repo=repo, trial=trial, base_id=base_id, upload=push, verify=verify
    )


def publish_adapter(
    folder: "StudyFolder",
    console: "Console",
    *,
    repo: str,
    trial: str | None = None,
    base_id: str | None = None,
    upload: bool = False,
    verify: bool = False,
) -> None:
    """Stage a trial's adapter, show it, and upload and verify it where asked to.

    Args:
        folder: the study folder.
        console: where the lines go.
        repo: `owner/name` on the Hub.
        trial: number or key of a COMPLETE trial; null takes the one that the study chose.
        base_id: Hub id of the base, where the study names none.
        upload: send what is staged to the Hub, in one commit.
        verify: score again what was uploaded, or else what is staged, and compare with its card.

    Raises:
        InputError: nothing to publish, or something that must not be published.
        LoratoryError: the Hub failed, or the scores are not those of the card.
    """
    from loratory.reports.publishing import push, stage

    staged = stage(folder, trial=trial, repo_id=repo, base_id=base_id)
    for line in staged.lines():
        _say(console, line)
    if base_id is not None:
        _say(console, f"note: whether {base_id} is the base that the adapter was trained on is not checked")
    if upload:
        _say(console, f"uploaded: {push(staged)}")
    else:
        _say(console, "nothing was uploaded; the same command with --push uploads these files")
    if verify and upload:
        with TemporaryDirectory() as copy:
            verify_scores(folder, _download(repo, Path(copy)), console, key=staged.key)
    elif verify:
        verify_scores(folder, staged.path, console, key=staged.key)


def verify_scores(folder: "StudyFolder", adapter: Path, console: "Console", *, key: str) -> None:
    """Score an adapter on eval.select by plain PEFT, and compare with the card beside it.

    Args:
        folder: the study folder.
        adapter: folder with the adapter's two files and its card.
        console: where the line goes.
        key: key of the trial whose adapter it is.

    Raises:
        LoratoryError: a score differs from the card's.
    """
    from loratory.objectives.events import Split
    from loratory.objectives.objective import Beginning, objective_kind
    from loratory.objectives.qlora.verification.adapter_scores import score_adapter
    from loratory.reports.publishing import CARD
    from loratory.reports.verification import compare_scores, read_card_metrics, tolerance_of

    manifest = folder.read_manifest()
    stated = read_card_metrics(adapter / CARD)
    beginning = Beginning(created_at=manifest.created_at)
    prepared = objective_kind(manifest.spec.objective).prepare(manifest.spec, beginning)
    if prepared.hashes != manifest.hashes:
        raise InputError(
            f"{folder.path}: base and data must be what the study was scored on (hashes {manifest.hashes}), "
            f"are {prepared.hashes}; restore them"
        )
    measured = score_adapter(manifest.spec, prepared, adapter, Split.SELECT).aggregate
    record = folder.read_record(key)
    tolerance = tolerance_of(record.provenance.compute_dtype)
    differences = compare_scores(stated, measured, tolerance=tolerance)
    if differences:
        hint = _other_environment(record, manifest.spec)
        raise LoratoryError(
            "the adapter must score what its card says, but " + "; ".join([*differences, *hint])
        )
    scores = ", ".join(f"{name} {measured[name]:.4g}" for name in stated)
    _say(console, f"verified on eval.select to within {tolerance:g}: {scores}")


def _other_environment(record: "TrialRecord", study: "StudySpec") -> list[str]:
    """Describe how the environment differs: another device may choose another of two nearly equal tokens."""
    import torch

    from loratory.objectives.qlora.base.formats import format_of
    from loratory.objectives.qlora.kind import model_spec
    from loratory.objectives.qlora.memory.device import device_name, versions
    from loratory.reports.verification import environment_differences

    packages = format_of(model_spec(study).quantization).packages
    differences = environment_differences(
        recorded_versions=record.provenance.versions,
        present_versions=versions(packages),
        recorded_device=record.resources.device,
        present_device=device_name(torch.device("cuda" if torch.cuda.is_available() else "cpu")),
    )
    return [differences] if differences else []


def _download(repo: str, folder: Path) -> Path:
    from huggingface_hub import hf_hub_download

    from loratory.reports.publishing import PUBLISHED

    for name in PUBLISHED:
        hf_hub_download(repo, name, local_dir=folder)
    return folder


def _say(console: "Console", line: str) -> None:
    from loratory.search.terminal import say

    say(console, line)
