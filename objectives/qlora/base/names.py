"""Names of layers, and how PEFT's `target_modules` match them."""

from collections.abc import Iterable, Mapping

Layers = Mapping[str, tuple[int, int]]
"""Full name of each linear layer to (inputs, outputs), in the order of the base's modules."""


def matching(layers: Layers, targets: tuple[str, ...]) -> dict[str, tuple[int, int]]:
    """Select the layers that a target names, in full or by the last parts, as in PEFT; keep their order."""
    ends = tuple(f".{target}" for target in targets)
    return {layer: size for layer, size in layers.items() if layer in targets or layer.endswith(ends)}


def last_part(name: str) -> str:
    """Return the last part of a module's name."""
    return name.rpartition(".")[2]


def unambiguous(name: str, layers: Iterable[str], others: Iterable[str]) -> tuple[str, ...]:
    """Return targets that PEFT matches with the layers of a name and with no other module.

    Args:
        name: the last parts of a module's name.
        layers: the full names of the layers that it means.
        others: the full names of all other modules, such as those of a vision tower.

    Returns:
        The name itself; the full names of the layers where other modules have it too, or where it is a
        number.
    """
    end = f".{name}"
    shared = name.isdigit() or any(other == name or other.endswith(end) for other in others)
    return tuple(layers) if shared else (name,)
