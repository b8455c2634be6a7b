"""Data and base model of the quickstart: the standard library, and a small model in the package."""

from pathlib import Path


def base_folder() -> Path:
    """Return the folder of the base model in the package, in the layout of transformers."""
    return Path(__file__).with_name("base")
