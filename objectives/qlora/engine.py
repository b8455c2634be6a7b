"""The pack of a worker with its slots and evaluator: sized for the device, reduced when memory runs out."""

from dataclasses import replace

import torch

from loratory.objectives.data.prepared import PreparedData
from loratory.objectives.metrics.jobs import TextJobs
from loratory.objectives.packing.decoding.apart import ApartDecoder
from loratory.objectives.packing.decoding.decoder import Decoder
from loratory.objectives.packing.decoding.prefill import PREFILL_TOKENS
from loratory.objectives.packing.fused import fuse
from loratory.objectives.packing.model import PackedModel
from loratory.objectives.packing.out_of_memory import NothingLeftError, is_out_of_memory
from loratory.objectives.packing.pack import Pack
from loratory.objectives.packing.runner import PassRunner
from loratory.objectives.packing.stack import AdapterStack
from loratory.objectives.qlora.base.architecture import Architecture
from loratory.objectives.qlora.base.loading import Base, checkpoint_activations
from loratory.objectives.qlora.base.probe import BaseProbe, Ways, longest_sequence
from loratory.objectives.qlora.engine_words import chosen_lines, sizes_text
from loratory.objectives.qlora.memory.admission import Admission, Admitted, asked_of
from loratory.objectives.qlora.memory.device import release_memory
from loratory.objectives.qlora.memory.facts import longest_prompt, workload
from loratory.objectives.qlora.memory.predict import copy_limit, largest_pass
from loratory.objectives.qlora.memory.ranks import numbers_per_rank, trial_bytes_of_rank
from loratory.objectives.qlora.scoring.evaluator import Evaluator
from loratory.objectives.qlora.slots import Slots
from loratory.objectives.records import Arrangement
from loratory.spaces.packing import trials_taken
from loratory.spaces.study import StudySpec

_SMALLEST_PASS = 64


class Engine:
    """Slots and evaluator of one worker, in which trials train and are scored.

    Attributes:
        architecture: the base's layers.
        notes: the sizes that were chosen, and what the base cannot do, as lines of text.
        checks: what was asked of the base.
        slots: the pack and the trials that train in it.
        evaluator: scores copies of adapters.
    """

    def __init__(
        self,
        study: StudySpec,
        *,
        base: Base,
        model: PackedModel,
        architecture: Architecture,
        data: PreparedData,
        admission: Admission | None,
        admitted: Admitted,
        ways: Ways,
    ) -> None:
        """Allocate pack, stacks and evaluator, in a smaller arrangement where the memory does not hold them.

        Args:
            study: the study.
            base: the resident base.
            model: the model of `base`, prepared for packs.
            architecture: the base's layers.
            data: the splits.
            admission: knows smaller arrangements; None where there must be no other.
            admitted: the arrangement to begin with.
            ways: how the base is trained and decoded.

        Raises:
            torch.OutOfMemoryError: not even the smallest arrangement fits.
        """
        self._study, self._base, self._model, self._data = study, base, model, data
        self._stack_size, self._engine_size = admitted.stack, admitted.size
        self._load = workload(study, data, admitted.stack, dtype=base.compute_dtype)
        self.architecture, self.checks, self._generation = architecture, ways.checks, ways.generation
        failed = self._build_within(admission)
        self._largest_pass = self._engine_size.tokens_per_pass
        highest = None if self.trial_limit_bytes is None else self._stack_size.rank
        chosen = chosen_lines(self.sizes, failed=failed, highest_rank=highest, study=study)
        self.notes: tuple[str, ...] = (*ways.notes, *chosen)

    @property
    def capacity(self) -> int:
        """Trials accepted at once: in slots, waiting for one, or being scored."""
        return min(trials_taken(self._engine_size.slots), self._study.trials)

    @property
    def arrangement(self) -> Arrangement:
        """How the worker is laid out; its `Ready` brings that of its start into the records of its trials."""
        size, pack = self._engine_size, self.slots.pack
        return Arrangement(
            slots=size.slots,
            tokens_per_pass=size.tokens_per_pass,
            graphs=self._runner.graphs,
            holds_base=self._model.holds_base,
            gradient_checkpointing=size.checkpointing,
            optimizer_bits=8 if size.optimizer_bits == 8 else torch.finfo(pack.stack.master.dtype).bits,
            decoding_rows=size.decoding_rows if self._study.metrics else None,
        )

    @property
    def sizes(self) -> str:
        """The sizes in force, in words."""
        return sizes_text(
            self._engine_size,
            dtype=str(self._model.compute_dtype).removeprefix("torch."),
            held_bytes=self._model.held_bytes,
            decodes=bool(self._study.metrics),
            captures=self._model.fused_attention,
        )

    @property
    def copy_limit_bytes(self) -> int:
        """Most device memory of copies of adapters that were not fetched yet."""
        return copy_limit(self._load)

    @property
    def trial_limit_bytes(self) -> int | None:
        """Device memory that a trial's adapter may take; None where every trial of the study fits."""
        largest = max(self._study.extremes_of("rank"))
        if self._stack_size.rank >= largest:
            return None
        numbers = numbers_per_rank(self._stack_size.layers)
        return trial_bytes_of_rank(self._stack_size.rank, numbers_per_rank=numbers)

    def why_too_large(self, rank: int) -> str | None:
        """Return why an adapter of this rank has no place on this worker; None if it has one."""
        most = self.slots.pack.stack.rank
        return None if rank <= most else f"rank {rank} does not fit on this GPU beside the base, {most} does"

    def make_room(self, *, scoring: bool = False) -> bool:
        """Reduce the memory in use after it ran out.

        The steps are tried in this order. Scoring decodes fewer prompts at once. Passes get smaller, down to
        the size below which only the number of launches would grow. The dequantised base is freed.
        Activations are recomputed in the backward pass, and moments move to main memory, where the study
        file leaves that open. The cache of decoding gets fewer rows. The pack gets fewer slots, and trials
        without a slot wait. No update is lost: an interrupted pass is repeated.

        This returns True finitely often: each step halves a size or takes what is never given back. Passes
        grow again twice at most, when the base is freed and when activations begin to be recomputed.

        Args:
            scoring: whether memory ran out while adapters were scored.

        Returns:
            True if anything could be made smaller.

        Raises:
            NothingLeftError: what was freed could not be made anew, not in the smallest size either.
        """
        self.slots.rewind_batches()
        self.forget_graphs()
        if not (self._ease_work(scoring=scoring) or self._ease_storage()):
            return False
        release_memory(self._base.device)
        self._reserve_again()
        return True

    def _ease_work(self, *, scoring: bool) -> bool:
        """Let work take less memory, and keep what is allocated; return whether anything could."""
        if scoring and self._decoder is not None and self._decoder.shrink():
            self._engine_size = replace(self._engine_size, decoding_rows=self._decoder.limit)
            return True
        if self._engine_size.tokens_per_pass > self._smallest_pass:
            self._take_passes_of(max(self._smallest_pass, self._engine_size.tokens_per_pass // 2))
            return True
        return False

    def _ease_storage(self) -> bool:
        """Allocate less between passes; return whether anything could."""
        if self._model.holds_base:
            self._model.release_base()
            self._engine_size = replace(self._engine_size, hold_base=False)
            self._take_passes_of(self._largest_pass)
        elif self._may_checkpoint:
            self._checkpoint(enabled=True)
            self._take_passes_of(self._largest_pass)
        elif self._may_offload:
            self._engine_size = replace(self._engine_size, offload=True)
            self.slots.replace_pack(self._pack_that_fits)
        elif self._reduce_cache():
            return True
        elif self._engine_size.slots > 1:
            self._engine_size = replace(self._engine_size, slots=self._engine_size.slots // 2)
            self.slots.replace_pack(self._pack_that_fits)
        else:
            return False
        return True

    def _reduce_cache(self) -> bool:
        """Give the cache of decoding fewer rows; return whether there is one with several."""
        if not isinstance(self._decoder, Decoder) or not self._decoder.reduce_cache():
            return False
        self._engine_size = replace(
            self._engine_size, decoding_rows=self._decoder.limit, cache_pages=self._decoder.pages
        )
        return True

    def begin_again(self) -> None:
        """Prepare to repeat a lost pass with the memory that is free now."""
        self.slots.rewind_batches()
        release_memory(self._base.device)

    def _reserve_again(self) -> None:
        """Reserve memory for the largest pass as at the start; if it does not fit, later passes find out."""
        try:
            self._reserve_largest(self.slots.pack)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            self._runner.clear()

    def _reserve_largest(self, pack: Pack) -> None:
        tokens = largest_pass(self._load, self._engine_size)
        pack.reserve(tokens, longest=self._longest_example)

    @property
    def _smallest_pass(self) -> int:
        """Smallest limit of a pass, in tokens, that holds the longest example."""
        return max(_SMALLEST_PASS, self._longest_example)

    @property
    def _longest_example(self) -> int:
        return int(self._data.train.lengths.max())

    def _take_passes_of(self, tokens: int) -> None:
        self._engine_size = replace(self._engine_size, tokens_per_pass=tokens)
        self.slots.limit_passes(tokens)

    def forget_graphs(self) -> None:
        """Free the memory of captured CUDA graphs; passes are captured again when they occur."""
        self._runner.clear()
        if self._decoder is not None:
            self._decoder.clear()

    def _build_within(self, admission: Admission | None) -> int:
        """Build, and where memory runs out try the next smaller arrangement, until one fits.

        Each next arrangement is predicted to take less than the one before, so there is a last.

        Returns:
            How many did not fit.
        """
        failed = 0
        while (message := self._try_to_build()) is not None:
            self._free()
            tried = Admitted(size=self._engine_size, stack=self._stack_size)
            smaller = None if admission is None else admission.next_smaller(tried)
            if smaller is None:
                raise torch.OutOfMemoryError(message)
            self._engine_size, self._stack_size = smaller.size, smaller.stack
            failed += 1
        return failed

    def _try_to_build(self) -> str | None:
        """Build; return what PyTorch says where memory runs out, else None.

        The exception ends here: while it lives, so do the tensors of what failed.
        """
        try:
            self._build()
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            return str(error)
        return None

    def _build(self) -> None:
        size = self._engine_size
        self._runner = PassRunner(self._model.device, graphs=size.graphs and self._model.fused_attention)
        self._checkpoint(enabled=size.checkpointing)
        self._stack = self._new_stack(trains=False)
        if size.hold_base:
            self._model.hold_base()
        pack = self._new_pack()
        self._decoder = self._new_decoder()
        self._reserve_largest(pack)
        self.slots = Slots(pack, self._data.train, tokens_per_pass=size.tokens_per_pass)
        self.evaluator = Evaluator(
            self.slots,
            self._base,
            self._study,
            decoder=self._decoder,
            stack=self._stack,
            labels=self._data.labels,
            kept_ids=self._data.kept_ids,
            # While a CPU trains, another process on it gains nothing.
            jobs=TextJobs(apart=self._base.device.type == "cuda"),
        )

    def _free(self) -> None:
        """Free what an attempt to build has allocated."""
        self._runner.clear()
        self._model.release_base()
        for name in ("_stack", "_decoder", "slots", "evaluator"):
            self.__dict__.pop(name, None)
        release_memory(self._base.device)

    def _checkpoint(self, *, enabled: bool) -> None:
        checkpoint_activations(self._model.model, enabled=enabled)
        self._engine_size = replace(self._engine_size, checkpointing=enabled)

    @property
    def _may_checkpoint(self) -> bool:
        return not self._engine_size.checkpointing and asked_of(self._study).checkpointing is None

    @property
    def _may_offload(self) -> bool:
        asked = self._study.packing.offload_optimizer
        return not self._engine_size.offload and asked is None and self._model.device.type == "cuda"

    def _pack_that_fits(self) -> Pack:
        """Return a pack with the slots of the engine, or with half of them as often as memory ends.

        One slot gets the memory of the cache's rows too, since the pack before it is gone.

        Raises:
            NothingLeftError: one slot does not fit beside a cache of one row.
        """
        while True:
            release_memory(self._base.device)
            try:
                return self._new_pack()
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
            if self._engine_size.slots > 1:
                self._engine_size = replace(self._engine_size, slots=self._engine_size.slots // 2)
            elif not self._reduce_cache():
                raise NothingLeftError("no memory for a pack of one slot")

    def _new_stack(self, *, trains: bool) -> AdapterStack:
        return AdapterStack(
            self._stack_size.layers,
            slots=self._engine_size.slots,
            rank=self._stack_size.rank,
            device=self._model.device,
            compute_dtype=self._model.compute_dtype,
            trains=trains,
        )

    def _new_pack(self) -> Pack:
        return Pack(
            self._model,
            self._new_stack(trains=True),
            self._runner,
            dropout=self._stack_size.dropout,
            optimizer_bits=self._engine_size.optimizer_bits,
            offload=self._engine_size.offload,
        )

    def _new_decoder(self) -> Decoder | ApartDecoder | None:
        if not self._study.metrics:
            return None
        if self._generation is not None:
            return ApartDecoder(
                self._model,
                self._stack,
                end_ids=self._base.end_ids,
                padding_id=self._base.padding_id,
                max_new_tokens=self._study.evaluation.max_new_tokens,
                rows=max(1, self._engine_size.decoding_rows),
                generation=self._generation,
            )
        return Decoder(
            self._model,
            self._runner,
            self._stack,
            end_ids=self._base.end_ids,
            padding_id=self._base.padding_id,
            max_new_tokens=self._study.evaluation.max_new_tokens,
            longest_prompt=longest_prompt(self._data),
            rows=self._engine_size.decoding_rows,
            pages=self._engine_size.cache_pages,
            prefill_tokens=min(PREFILL_TOKENS, self._engine_size.tokens_per_pass),
        )


def build_engine(
    study: StudySpec, *, base: Base, architecture: Architecture, data: PreparedData, admission: Admission
) -> Engine:
    """Build an engine that fits the device, and compute nothing wrong on this base.

    Raises:
        InputError: the base cannot be trained or decoded right, or the study file asks for more slots than
            fit into memory.
    """
    probe = BaseProbe(
        base,
        name=architecture.name,
        longest=longest_sequence(study, data),
        decodes=bool(study.metrics),
    )
    fuse(base.model)
    model = PackedModel(
        base.model,
        architecture.linear_layers,
        device=base.device,
        compute_dtype=base.compute_dtype,
        frozen_weight=base.format.frozen_weight,
    )
    ways = probe.choose(model)
    release_memory(base.device)
    return Engine(
        study,
        base=base,
        model=model,
        architecture=architecture,
        data=data,
        admission=admission,
        admitted=admission.loaded(model, cached=ways.generation is None),
        ways=ways,
    )
