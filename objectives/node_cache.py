"""Folder of this node for what can be made again: hashes of large files."""

import os
from pathlib import Path

CACHE_VARIABLE = "LORATORY_CACHE"


def node_cache() -> Path:
    """Return the folder: `LORATORY_CACHE`, or else `loratory` in the user's folder for caches."""
    if named := os.environ.get(CACHE_VARIABLE):
        return Path(named).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "loratory"
