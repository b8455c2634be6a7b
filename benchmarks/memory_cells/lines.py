"""Answers of child processes on their standard output, where libraries print too."""

import json
from collections.abc import Mapping
from typing import Any

RESULT = "RESULT "
"""Begins a line that holds an answer."""


def say(answer: Mapping[str, Any]) -> None:
    """Print an answer."""
    print(RESULT + json.dumps(answer), flush=True)
