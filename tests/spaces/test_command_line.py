import shlex
from pathlib import Path

from loratory.spaces.command_line import command


def test_names_the_folder_so_that_a_shell_reads_it_back() -> None:
    folder = "my runs/it's $HOME"
    text = command("publish", Path(folder), "--repo", "me/name")
    assert shlex.split(text) == ["loratory", "publish", folder, "--repo", "me/name"]
    assert command("decide", "runs/a", "11", "8") == "loratory decide runs/a 11 8"
