"""Environment, mode and run ids of the W&B process. Imports no wandb."""

import os
import re
from collections.abc import Mapping
from pathlib import Path

from loratory.spaces.tracking import WandbMode, WandbSpec
from loratory.spaces.trial import key_in_a_name

# Variables that name the user and the server. All other WANDB_* variables (ids, groups, folders, modes, the
# service of a surrounding run) would change which runs are written and where.
_KEPT = frozenset(
    {
        "WANDB_API_KEY",
        "WANDB_BASE_URL",
        "WANDB_CONFIG_DIR",
        "WANDB_ENTITY",
        "WANDB_HTTP_TIMEOUT",
        "WANDB_IDENTITY_TOKEN_FILE",
        "WANDB_INSECURE_DISABLE_SSL",
    }
)
_MODES = {
    "offline": WandbMode.OFFLINE,
    "dryrun": WandbMode.OFFLINE,
    "online": WandbMode.ONLINE,
    "disabled": WandbMode.OFF,
}


def requested_mode(spec: WandbSpec, environment: Mapping[str, str] = os.environ) -> WandbMode:
    """Return the mode of the study file; if that is auto, the mode that WANDB_MODE names.

    Args:
        spec: section `tracking.wandb` of the study file.
        environment: environment variables.
    """
    if spec.mode is not WandbMode.AUTO:
        return spec.mode
    return _MODES.get(environment.get("WANDB_MODE", ""), WandbMode.AUTO)


def wandb_environment(work: Path, data: Path, environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the environment of the W&B process.

    Args:
        work: folder for caches, removed when the process ends.
        data: folder for the files of artifacts, which `wandb sync` needs later.
        environment: environment variables of this process.
    """
    kept = {key: value for key, value in environment.items() if not key.startswith("WANDB_") or key in _KEPT}
    return kept | {
        "WANDB_DIR": str(work),
        "WANDB_CACHE_DIR": str(work / "cache"),
        "WANDB_ARTIFACT_DIR": str(work / "artifacts"),
        "WANDB_DATA_DIR": str(data),
        "WANDB_SILENT": "true",
        "WANDB_CONSOLE": "off",
        "WANDB_ERROR_REPORTING": "false",
        "WANDB_DISABLE_GIT": "true",
        "WANDB_DISABLE_CODE": "true",
    }


def run_prefix(study_uuid: str) -> str:
    """Return the prefix of the ids of a study's runs. An id may not contain `:;,#?/'`."""
    return re.sub(r"[^A-Za-z0-9]", "", study_uuid)


def run_id(study_uuid: str, key: str) -> str:
    """Return the id of a trial's run; it stays the same after every resume."""
    return f"{run_prefix(study_uuid)}-{key_in_a_name(key)}"
