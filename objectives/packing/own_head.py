"""A model's own output head and whatever it does to its logits, for some tokens at a time.

Models scale their logits, cap them softly, or change the input of the head. That is code of their forward
method after the call of the module with the layers, the trunk. It runs on any rows where the trunk is made to
return them in place of its own output.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch

from loratory.objectives.packing.out_of_memory import is_out_of_memory

_COMPARED = 4  # rows whose logits are computed in both ways, to find out if both are the same
_TOLERANCES = {torch.float64: 1e-9, torch.float32: 1e-4, torch.float16: 0.01, torch.bfloat16: 0.05}


class OwnHead:
    """The head of one model.

    Attributes:
        in_pieces: whether rows can be computed apart; None before the first pass.
    """

    def __init__(self, model: Any, packed: Iterable[str]) -> None:
        """Look at nothing yet.

        Args:
            model: a causal language model of transformers.
            packed: full names of the layers with adapters.
        """
        self._model, self._packed = model, tuple(packed)
        self.in_pieces: bool | None = None

    def whole(self, call: Callable[[], torch.Tensor], places: torch.Tensor) -> torch.Tensor:
        """Compute the logits [N, V] of some rows at once, and find out if they can be computed in pieces.

        Args:
            call: runs the model and returns the logits of the rows that reach the head.
            places: int [N], these rows.
        """
        with self._catching() as caught, self._picking(places.long()):
            logits = call()
        if self.in_pieces is None and len(places) and not _is_captured(logits):
            self.in_pieces = self._computes_rows(caught, places[:_COMPARED].long(), logits[:_COMPARED])
        return logits

    def split(
        self, call: Callable[[], torch.Tensor]
    ) -> tuple[torch.Tensor, Callable[[torch.Tensor], torch.Tensor]]:
        """Run the trunk, where `in_pieces`.

        Args:
            call: as for `whole`.

        Returns:
            The output of the trunk [T, width], and the function from some of its rows [n, width] to their
            logits [n, V].
        """
        with self._catching() as caught, self._picking(slice(1)):
            call()
        trunk, output = next(iter(caught))
        return output[0].flatten(0, 1), lambda rows: self._logits(trunk, output, rows)

    def _logits(self, trunk: Any, output: Any, rows: torch.Tensor) -> torch.Tensor:
        """Compute the logits [n, V] of rows [n, width] in place of those in the trunk's output."""
        ids = torch.zeros(1, len(rows), dtype=torch.int32, device=rows.device)
        with _returning(trunk, _with_states(output, rows.unsqueeze(0))):
            return self._model(input_ids=ids, use_cache=False).logits[0]  # type: ignore[no-any-return]

    def _computes_rows(self, caught: list[tuple[Any, Any]], few: torch.Tensor, logits: torch.Tensor) -> bool:
        """Return whether the trunk ran once, holds all layers, and rows alone have the given logits."""
        if len(caught) != 1 or not self._holds_layers(caught[0][0]):
            return False
        trunk, output = caught[0]
        if not isinstance(output, (tuple, Mapping)):
            return False
        try:
            with torch.no_grad():
                apart = self._logits(trunk, output, output[0].flatten(0, 1)[few])
        except Exception as error:  # models run code of their own, which may want what a pass has
            if is_out_of_memory(error):
                raise
            return False
        if apart.shape != logits.shape or logits.device.type == "meta":
            return apart.shape == logits.shape
        tolerance = _TOLERANCES[logits.dtype]
        most = tolerance * logits.detach().nan_to_num(0.0, 0.0, 0.0).abs().max()
        return torch.allclose(apart, logits.detach(), rtol=tolerance, atol=float(most), equal_nan=True)

    def _holds_layers(self, trunk: Any) -> bool:
        prefix = next(name for name, module in self._model.named_modules() if module is trunk)
        return all(name.startswith(f"{prefix}.") for name in self._packed)

    @contextlib.contextmanager
    def _catching(self) -> Iterator[list[tuple[Any, Any]]]:
        """Record the calls of the trunk in a `with` block, each as the module and its output.

        Some models call a module inside their base model rather than the base model.
        """
        caught: list[tuple[Any, Any]] = []
        base, decoder = self._model.base_model, self._model.get_decoder()

        def catch(module: Any, _: Any, output: Any) -> None:
            # Of two modules of which one calls the other, the outer one is over last.
            caught[:] = [(m, o) for m, o in caught if m is module or module is not base]
            caught.append((module, output))

        modules = {id(module): module for module in (base, decoder) if module is not self._model}
        hooks = [module.register_forward_hook(catch) for module in modules.values()]
        try:
            yield caught
        finally:
            for hook in hooks:
                hook.remove()

    @contextlib.contextmanager
    def _picking(self, rows: torch.Tensor | slice) -> Iterator[None]:
        """Let only some rows of the trunk's output reach the head, inside a `with` block."""

        def pick(_: Any, arguments: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
            return (arguments[0].flatten(0, 1)[rows].unsqueeze(0), *arguments[1:])

        # The head computes these rows only; the model may change its logits afterwards.
        hook = self._model.get_output_embeddings().register_forward_pre_hook(pick)
        try:
            yield
        finally:
            hook.remove()


def _with_states(output: Any, states: torch.Tensor) -> Any:
    """Return a trunk's output with other hidden states [1, n, width]."""
    if isinstance(output, tuple):
        return (states, *output[1:])
    return type(output)(**{**output, "last_hidden_state": states})


@contextlib.contextmanager
def _returning(module: Any, output: Any) -> Iterator[None]:
    """Let a module return an output without computing it, inside a `with` block."""
    own = vars(module).get("forward")
    module.forward = lambda *_, **__: output
    try:
        yield
    finally:
        del module.forward
        if own is not None:
            module.forward = own


def _is_captured(tensor: torch.Tensor) -> bool:
    """Return whether a CUDA graph is being captured, in which numbers cannot be looked at."""
    return tensor.device.type == "cuda" and torch.cuda.is_current_stream_capturing()
