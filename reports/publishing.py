"""Stage a trial's adapter as a Hub repository of exactly three files, and upload it in one commit."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loratory.objectives.atomic_files import write_atomically
from loratory.objectives.data.rendering import PromptStyle
from loratory.objectives.study_folder import ADAPTER_CONFIG, ADAPTER_WEIGHTS, StudyFolder
from loratory.reports import formatting
from loratory.reports.card import CardFacts, model_card
from loratory.reports.card_training import training_rules
from loratory.reports.card_usage import DEFAULT_CLASS, Usage
from loratory.reports.comparison import compare
from loratory.reports.comparison_report import ComparisonReport, ScoredTrial
from loratory.reports.hub_ids import check_repo_id, dataset_hub_id, resolve_base_id
from loratory.reports.ranking import NOT_THERE
from loratory.reports.score_files import read_table
from loratory.reports.staging_checks import (
    check_config,
    check_weights,
    read_config,
    refuse_paths,
    refuse_secrets,
)
from loratory.spaces.errors import InputError
from loratory.spaces.study import StudySpec
from loratory.spaces.trial import key_of_name

CARD = "README.md"
PUBLISHED = (ADAPTER_WEIGHTS, ADAPTER_CONFIG, CARD)
"""Names of the uploaded files; nothing else is uploaded."""


@dataclass(frozen=True, kw_only=True)
class StagedFile:
    """One file ready to upload."""

    name: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Staged:
    """A repository ready to upload.

    Attributes:
        path: folder that holds the files.
        repo_id: the repository on the Hub.
        trial: number of the trial, or of the trial whose settings were trained again.
        key: key of the trial, such as `0011` or `confirm/0011-2`.
        base_id: the base's Hub id.
        files: the files, as `PUBLISHED` names them.
    """

    path: Path
    repo_id: str
    trial: int
    key: str
    base_id: str
    files: tuple[StagedFile, ...]

    @property
    def shown(self) -> str:
        """Name of the trial for people."""
        return self.key if "/" in self.key else str(self.trial)

    def lines(self) -> list[str]:
        """Return lines for the terminal that describe the staged files."""
        head = f"{self.repo_id}: adapter of trial {self.shown} on {self.base_id}, staged in {self.path}"
        width = max(len(file.name) for file in self.files)
        return [head] + [
            f"  {file.name:<{width}}  {formatting.size(file.size_bytes):>10}\n    sha256 {file.sha256}"
            for file in self.files
        ]


def stage(
    folder: StudyFolder, *, trial: int | str | None, repo_id: str, base_id: str | None = None
) -> Staged:
    """Write the files to publish, and nothing else, into <study>/publish/.

    Args:
        folder: the study folder.
        trial: number or key of a complete trial; None takes the one that the study chose.
        repo_id: `owner/name` on the Hub.
        base_id: Hub id of the base, if the study names a folder.

    Raises:
        InputError: the adapter or a Hub id of its base is missing, the repository's name is bad, or the
            content must not be published.
    """
    check_repo_id(repo_id)
    spec = folder.read_manifest().spec
    report = compare(folder)
    if trial is None and report.choice is not None and report.choice.uncertain:
        raise InputError(
            f"{folder.path}: which adapter the study chooses is not known while scores are damaged: "
            f"{', '.join(report.damaged)}; restore them, or name a trial with --trial"
        )
    chosen = _chosen(report, trial)
    config = _config(folder, chosen, given=base_id, spec=spec)
    facts = _facts(folder, chosen, repo_id=repo_id, config=config)
    card = model_card(report, chosen, facts)
    refuse_secrets(CARD, card)
    # A prompt may hold `/no_think`, and a regular expression `/`, which look like paths.
    own = card.replace(facts.usage.prompt_template or CARD, "")
    refuse_paths(CARD, own.replace(spec.evaluation.extract or CARD, ""))
    contents = {
        ADAPTER_WEIGHTS: _weights(folder, chosen),
        ADAPTER_CONFIG: json.dumps(config, indent=2, sort_keys=True).encode(),
        CARD: card.encode(),
    }
    target = folder.publish
    _refuse_strangers(target)
    for name, content in contents.items():
        write_atomically(target / name, content)
    files = tuple(_described(target / name) for name in PUBLISHED)
    base = config["base_model_name_or_path"]
    return Staged(
        path=target, repo_id=repo_id, trial=chosen.number, key=chosen.key, base_id=base, files=files
    )


def push(
    staged: Staged, *, token: str | None = None, endpoint: str | None = None, private: bool | None = None
) -> str:
    """Upload the staged files in one commit.

    Args:
        staged: the result of `stage`; refused if a file has changed since.
        token: Hub token; None takes the one that huggingface_hub finds.
        endpoint: address of the Hub; None takes huggingface_hub's default.
        private: whether a new repository is private; None takes the account's default.

    Returns:
        Address of the commit.

    Raises:
        InputError: the token is missing or lacks the permission, or the Hub refuses the name.
        LoratoryError: the Hub cannot be reached, or failed.
    """
    from huggingface_hub import CommitOperationAdd, HfApi, get_token

    from loratory.reports.hub_errors import hub_errors

    token = token or get_token()
    if not token:
        raise InputError("publish needs a Hub token, found none: set HF_TOKEN, or run `hf auth login`")
    operations = [
        CommitOperationAdd(path_in_repo=file.name, path_or_fileobj=str(_unchanged(staged.path, file)))
        for file in staged.files
    ]
    api = HfApi(endpoint=endpoint, token=token)
    with hub_errors(staged.repo_id):
        api.create_repo(staged.repo_id, exist_ok=True, private=private)
        message = f"Trial {staged.shown}, by loratory"
        return str(api.create_commit(staged.repo_id, operations, commit_message=message).commit_url)


def _chosen(report: ComparisonReport, name: int | str | None) -> ScoredTrial:
    """Return the trial of a number (`11`) or a key (`0011`, `confirm/0011-2`); of None the study's choice."""
    retrained = report.retrained.runs if report.retrained else ()
    every: tuple[ScoredTrial, ...] = (*report.ranking, *retrained)
    wanted = report.winner.key if report.winner and name is None else key_of_name(str(name))
    trial = next((t for t in every if t.key == wanted), None)
    if trial is None:
        needed = "a complete trial" if name is None else f"trial {name} to be complete"
        known = ", ".join(str(t.number) for t in report.ranking[:10]) or "none"
        also = f"; retrained: {', '.join(run.key for run in retrained[:10])}" if retrained else ""
        raise InputError(f"publish needs {needed} with finite scores; ranked are: {known}{also}")
    if trial.adapter is None:
        raise InputError(_without_adapter(trial, every))
    return trial


def _without_adapter(trial: ScoredTrial, every: Sequence[ScoredTrial]) -> str:
    """Return the line that refuses a trial without an adapter, and names others that have one."""
    others = ", ".join(other.shown for other in every[:10] if other.adapter is not None)
    instead = f"publish another with --trial: {others}" if others else "no trial has one"
    if trial.adapter_removed is None:
        return f"publish needs an adapter, trial {trial.shown} kept none; {instead}"
    if trial.adapter_removed == NOT_THERE:
        return (
            f"publish needs an adapter, that of trial {trial.shown} is missing: {NOT_THERE}; restore them, "
            f"or {instead}"
        )
    return (
        f"publish needs an adapter, that of trial {trial.shown} was deleted: {trial.adapter_removed}; "
        f"{instead}, or train it anew in a study of its values"
    )


def _weights(folder: StudyFolder, trial: ScoredTrial) -> bytes:
    path = folder.adapter(trial.key) / ADAPTER_WEIGHTS
    check_weights(path)
    content = path.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != trial.adapter_sha256:
        raise InputError(
            f"{path}: must be the adapter that was scored (sha256 {trial.adapter_sha256}), is {found}; "
            "restore it, or publish another trial"
        )
    return content


def _config(folder: StudyFolder, trial: ScoredTrial, *, given: str | None, spec: StudySpec) -> dict[str, Any]:
    """Return the adapter's configuration with the base's Hub id, and its commit if it belongs to this id."""
    config = read_config(folder.adapter(trial.key) / ADAPTER_CONFIG)
    recorded = config.get("base_model_name_or_path")
    base_id = resolve_base_id(spec, recorded=recorded, given=given)
    revision = config.get("revision") if base_id == recorded else None
    config |= {"base_model_name_or_path": base_id, "revision": revision}
    check_config(ADAPTER_CONFIG, config)
    return config


def _facts(folder: StudyFolder, trial: ScoredTrial, *, repo_id: str, config: dict[str, Any]) -> CardFacts:
    spec = folder.read_manifest().spec
    record = folder.read_record(trial.key)
    training = spec.resolve(trial.params)
    table = read_table(folder.trial(trial.key))
    return CardFacts(
        repo_id=repo_id,
        base_id=config["base_model_name_or_path"],
        base_revision=config["revision"],
        usage=_usage(folder, spec, config, record.provenance.compute_dtype),
        signatures=table.signatures if table else {},
        training=training.described(),
        rules=training_rules(record, training),
        dataset_id=dataset_hub_id(spec),
        language=spec.evaluation.language,
        versions=record.provenance.versions,
    )


def _usage(folder: StudyFolder, spec: StudySpec, config: dict[str, Any], compute_dtype: str | None) -> Usage:
    model = spec.model
    assert model is not None  # without a model there is no base to name
    published = (config.get("auto_mapping") or {}).get("base_model_class")  # of a multimodal release
    listing = _read_listing(folder)
    return Usage(
        style=_prompt_style(listing),
        prompt_template=spec.data.prompt_template if spec.data else None,
        max_new_tokens=spec.evaluation.max_new_tokens,
        model=model,
        compute_dtype=compute_dtype,
        model_class=published or DEFAULT_CLASS,
        prompt_date=listing.get("prompt_date"),
        kept_tokens=tuple(listing.get("kept_tokens", ())),
        score_thoughts=spec.evaluation.score_thoughts,
    )


def _read_listing(folder: StudyFolder) -> dict[str, Any]:
    """Return data/examples.json, or nothing where it cannot be read."""
    try:
        listing = json.loads(folder.examples.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return listing if isinstance(listing, dict) else {}


def _prompt_style(listing: dict[str, Any]) -> PromptStyle | None:
    try:
        return PromptStyle(listing["prompt_style"])
    except (ValueError, KeyError):
        return None


def _refuse_strangers(target: Path) -> None:
    strangers = sorted(p.name for p in target.iterdir() if p.name not in PUBLISHED) if target.is_dir() else []
    if strangers:
        raise InputError(
            f"{target}: must hold only {', '.join(PUBLISHED)}, holds {strangers[0]!r}; move it away"
        )


def _described(path: Path) -> StagedFile:
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    return StagedFile(name=path.name, size_bytes=len(content), sha256=digest)


def _unchanged(folder: Path, file: StagedFile) -> Path:
    path = folder / file.name
    if file.name not in PUBLISHED or not path.is_file() or _described(path) != file:
        raise InputError(f"{path}: must be as it was staged, has changed; the same command stages it again")
    return path
