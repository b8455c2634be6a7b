"""What the quickstart needs, with nothing to download: data from the standard library, a small base model."""

from pathlib import Path


def base_folder() -> Path:
    """Return the folder of the base that the package carries, as transformers reads it."""
    return Path(__file__).with_name("base")
