"""Commands of `loratory` as users type them."""

import shlex
from pathlib import Path


def command(name: str, *arguments: str | Path) -> str:
    """Return a command with its arguments, quoted for a shell where they need it.

    Args:
        name: the command, such as `publish`.
        arguments: what follows it; the folder of a study as it was given.
    """
    return shlex.join(["loratory", name, *map(str, arguments)])
