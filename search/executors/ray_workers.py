"""Workers as Ray actors: one per GPU or per share of the CPUs, on one machine or a cluster."""

import logging
import os
import re
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import ray
from ray.exceptions import RayError

from loratory.objectives.events import Decision
from loratory.objectives.objective import Prepared
from loratory.search.executors.answer_clock import HUNG_SECONDS, AnswerClock
from loratory.search.executors.capacity import WorkerShape, count_workers
from loratory.search.executors.cluster import check_cluster, check_reachable, resolve_address
from loratory.search.executors.executor import Message
from loratory.search.executors.host import Reply, WorkerHost
from loratory.search.executors.own_ray import prepare_own_ray
from loratory.search.executors.ray_token import find_token, set_token_mode
from loratory.spaces.errors import InputError, LoratoryError
from loratory.spaces.study import StudySpec

_EXCHANGE_SECONDS = 0.5
_QUIET: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR, "configure_logging": True}
_DRIVER_ONLY = ("WANDB_API_KEY",)


class RayExecutor:
    """Holds workers as Ray actors. Ray never restarts them, because the owner counts retries."""

    def __init__(self, study: StudySpec, *, address: str | None = None) -> None:
        self._study = study.without_secrets()
        self._address = address
        self._owns_ray = False
        self._head: str | None = None
        self._leave: Callable[[], None] = _nothing
        self._actors: dict[int, ray.actor.ActorHandle] = {}
        self._outboxes: dict[int, list[Decision]] = {}
        self._exchanges: dict[ray.ObjectRef, int] = {}
        self._answers = AnswerClock()
        self._shape, self._count = WorkerShape(gpus=0, cpus=1), 0
        self._inputs: dict[str, ray.ObjectRef] = {}

    def check(self) -> None:
        """Check that the cluster of the address lets this process join, and take the token that it needs."""
        if self._address is None or ray.is_initialized():
            return
        if self._address.startswith("ray://"):
            check_reachable(self._address)
            self._head = self._address
            self._leave = set_token_mode(needed=True) if find_token() else _nothing
            return
        self._head = resolve_address(self._address)
        if self._head is not None:
            self._leave = check_cluster(self._head)

    def open(self) -> None:
        """Join or start Ray, check that workers fit, and start them."""
        if self._count:
            return
        self._owns_ray = not ray.is_initialized()
        if self._owns_ray:
            self._connect()
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        self._shape, self._count = count_workers(self._study.resources, nodes)
        # Into the object store once, not once a worker.
        self._inputs["study"] = ray.put(self._study.with_workers(self._count))
        for worker in range(self._count):
            self.replace(worker)

    def _connect(self) -> None:
        """Join the cluster that was checked, or start Ray here."""
        # A worker without a GPU share must not see the GPUs.
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "1")
        if self._head is None:
            self.check()
        with _without(_DRIVER_ONLY), _keeping_sigterm():
            self._leave = _start() if self._head is None else _join(self._head, self._leave)

    def start(self, prepared: Prepared) -> Sequence[int]:
        """Send the prepared study to every worker."""
        self.open()
        self._inputs["prepared"] = ray.put(prepared)
        for worker, actor in self._actors.items():
            # An exchange like any other: what goes wrong in it ends the worker.
            self._exchanges[actor.begin.remote(self._inputs["prepared"])] = worker
            self._answers.born(worker)
        return tuple(range(self._count))

    def waiting(self) -> str | None:
        """Return a line, once per minute, while actors wait for resources that others hold; else None."""
        silent = self._answers.never_answered()
        if not silent:
            return None
        free = ray.available_resources()
        return (
            f"{silent} of {self._count} workers wait for a place of {self._shape.gpus:g} GPUs and "
            f"{self._shape.cpus:g} CPUs; free: {free.get('GPU', 0):g} GPUs, {free.get('CPU', 0):g} CPUs"
        )

    def send(self, worker: int, decisions: Sequence[Decision]) -> None:
        """Send decisions to a worker with its next exchange."""
        self._outboxes[worker] += decisions

    def poll(self, timeout_seconds: float) -> list[Message]:
        """Keep one exchange with every worker under way, and return those that are done."""
        busy = set(self._exchanges.values())
        for worker in self._actors:
            if worker not in busy:
                self._exchange(worker)
        if not self._exchanges:
            return []
        ray.wait(list(self._exchanges), timeout=timeout_seconds)
        done, late = ray.wait(list(self._exchanges), num_returns=len(self._exchanges), timeout=0)
        hung = [
            self._exchanges[reference]
            for reference in late
            if self._answers.overdue(self._exchanges[reference])
        ]
        return [self._collect(reference) for reference in done] + [self._give_up(worker) for worker in hung]

    def replace(self, worker: int) -> None:
        """Replace a worker by a new actor."""
        self._drop(worker)
        actor = ray.remote(WorkerHost).options(
            num_gpus=self._shape.gpus, num_cpus=self._shape.cpus, max_restarts=0, max_task_retries=0
        )
        self._outboxes[worker] = []
        self._answers.born(worker)
        self._actors[worker] = actor.remote(**self._inputs)

    def close(self) -> None:
        """End every actor, and Ray where it was started here."""
        for worker in list(self._actors):
            self._drop(worker)
        if self._owns_ray:
            ray.shutdown()
        self._leave()

    def _exchange(self, worker: int) -> None:
        decisions, self._outboxes[worker] = self._outboxes[worker], []
        reference = self._actors[worker].exchange.remote(decisions, _EXCHANGE_SECONDS)
        self._exchanges[reference] = worker
        self._answers.asked(worker)

    def _collect(self, reference: ray.ObjectRef) -> Message:
        worker = self._exchanges.pop(reference)
        try:
            reply: Reply = ray.get(reference)
        except RayError as error:
            return Message(worker=worker, broken=_one_line(error))
        self._answers.answered(worker)
        return reply.message(worker)

    def _give_up(self, worker: int) -> Message:
        self._drop(worker)
        return Message(worker=worker, broken=f"no answer for {HUNG_SECONDS:g} s")

    def _drop(self, worker: int) -> None:
        self._exchanges = {ref: owner for ref, owner in self._exchanges.items() if owner != worker}
        actor = self._actors.pop(worker, None)
        if actor is not None:
            ray.kill(actor, no_restart=True)


def _start() -> Callable[[], None]:
    own = prepare_own_ray()
    try:
        # "local": a stale file of a dead cluster must not be joined.
        ray.init(address="local", **own.options, **_QUIET)
    except Exception as error:
        own.clean_up()
        raise LoratoryError(f"Ray does not start on this machine: {_one_line(error)}") from error
    return own.clean_up


def _join(address: str, restore: Callable[[], None]) -> Callable[[], None]:
    try:
        ray.init(address=address, **_QUIET)
    except (ConnectionError, RuntimeError, ValueError, RayError) as error:
        restore()
        raise InputError(f"--address {address}: must be a running Ray cluster: {_one_line(error)}") from error
    return restore


def _nothing() -> None:
    pass


@contextmanager
def _keeping_sigterm() -> Iterator[None]:
    """Keep our SIGTERM handler: `ray.init` replaces it by one that ends the driver with a dump."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, handler)


@contextmanager
def _without(names: Sequence[str]) -> Iterator[None]:
    """Remove variables from the environment while Ray starts, since workers inherit it."""
    hidden = {name: os.environ.pop(name) for name in names if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(hidden)


def _one_line(error: Exception) -> str:
    """Return the error in one line; where Ray wraps a traceback, its last line."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    return lines[-1] if "creation task" in lines[0] else f"{type(error).__name__}: {lines[0]}"
