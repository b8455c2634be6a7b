"""The commands of `loratory`, one module each.

To add the command NAME, write NAME.py with a function NAME, and list it below. Typer reads its arguments, its
options and its help from the signature and the docstring; options of several commands are in options.py. What
the signature does not need is imported in the function, since `loratory --help` imports all of these modules.
"""

COMMANDS = (
    "quickstart",
    "init",
    "check",
    "plan",
    "run",
    "status",
    "report",
    "decide",
    "confirm",
    "publish",
)
"""Modules of this package, in the order in which `loratory --help` lists them."""
