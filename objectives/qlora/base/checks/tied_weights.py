"""Check that weights which the configuration ties are one in the files too, on the loaded model."""

from typing import Any

from loratory.spaces.errors import InputError


def check_tied_weights(model: Any, location: str) -> None:
    """Refuse a base whose files hold different weights where its configuration says that they are one.

    transformers keeps them apart then, and other programs that serve the base use one for both.

    Args:
        model: a loaded model of transformers.
        location: the base, for the message.

    Raises:
        InputError: tied weights differ.
    """
    for name, other in model.get_expanded_tied_weights_keys(all_submodels=True).items():
        if model.get_parameter_or_buffer(name) is not model.get_parameter_or_buffer(other):
            raise InputError(
                f"model.base: {location} must hold {name} and {other} once, as tie_word_embeddings: true in "
                "config.json says, its files hold different ones; set it to false if both were trained, else "
                f"remove {name} from the files"
            )
