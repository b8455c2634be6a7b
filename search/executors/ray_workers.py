"""Workers as Ray actors: one a GPU, or one a share of the CPUs, on one machine or on a cluster."""

import logging
import os
import re
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import ray
from ray.exceptions import RayError

from loratory.objectives.events import Decision
from loratory.objectives.objective import Prepared
from loratory.search.executors.capacity import WorkerShape, count_workers
from loratory.search.executors.executor import Message
from loratory.search.executors.host import Reply, WorkerHost
from loratory.spaces.errors import InputError
from loratory.spaces.study import StudySpec

_EXCHANGE_SECONDS = 0.5
_CONNECT_SECONDS = 5.0
_DRIVER_ONLY = ("WANDB_API_KEY",)


class RayExecutor:
    """Actors that are never restarted behind the driver's back: retries are the owner's, and counted."""

    def __init__(self, study: StudySpec, prepared: Prepared, *, address: str | None = None) -> None:
        self._study, self._prepared = study, prepared
        self._address = address
        self._actors: dict[int, ray.actor.ActorHandle] = {}
        self._outboxes: dict[int, list[Decision]] = {}
        self._exchanges: dict[ray.ObjectRef, int] = {}
        self._shape = WorkerShape(gpus=0, cpus=1)
        self._inputs: tuple[ray.ObjectRef, ...] = ()

    def start(self) -> Sequence[int]:
        """Join or start Ray, check that workers fit, and start them all."""
        _connect(self._address)
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        self._shape, count = count_workers(self._study.resources, nodes)
        # Once into the object store, not once a worker.
        self._inputs = (ray.put(self._study), ray.put(self._prepared))
        for worker in range(count):
            self.replace(worker)
        return tuple(range(count))

    def send(self, worker: int, decisions: Sequence[Decision]) -> None:
        """Hand decisions to a worker with its next exchange."""
        self._outboxes[worker] += decisions

    def poll(self, timeout_seconds: float) -> list[Message]:
        """Keep one exchange in flight with every worker, and collect those that are done."""
        busy = set(self._exchanges.values())
        for worker in self._actors:
            if worker not in busy:
                self._exchange(worker)
        if not self._exchanges:
            return []
        ray.wait(list(self._exchanges), timeout=timeout_seconds)
        done, _ = ray.wait(list(self._exchanges), num_returns=len(self._exchanges), timeout=0)
        return [self._collect(reference) for reference in done]

    def replace(self, worker: int) -> None:
        """Start an actor in a worker's place."""
        self._drop(worker)
        actor = ray.remote(WorkerHost).options(
            num_gpus=self._shape.gpus, num_cpus=self._shape.cpus, max_restarts=0, max_task_retries=0
        )
        self._outboxes[worker] = []
        self._actors[worker] = actor.remote(*self._inputs)

    def close(self) -> None:
        """End every actor, and Ray where it was started here."""
        for worker in list(self._actors):
            self._drop(worker)
        ray.shutdown()

    def _exchange(self, worker: int) -> None:
        decisions, self._outboxes[worker] = self._outboxes[worker], []
        reference = self._actors[worker].exchange.remote(decisions, _EXCHANGE_SECONDS)
        self._exchanges[reference] = worker

    def _collect(self, reference: ray.ObjectRef) -> Message:
        worker = self._exchanges.pop(reference)
        try:
            reply: Reply = ray.get(reference)
        except RayError as error:
            return Message(worker=worker, broken=_one_line(error))
        return Message(worker=worker, events=reply.events, broken=reply.broken, deterministic=True)

    def _drop(self, worker: int) -> None:
        self._exchanges = {ref: owner for ref, owner in self._exchanges.items() if owner != worker}
        actor = self._actors.pop(worker, None)
        if actor is not None:
            ray.kill(actor, no_restart=True)


def _connect(address: str | None) -> None:
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    options = {"log_to_driver": False, "logging_level": logging.ERROR, "configure_logging": True}
    if ray.is_initialized():
        return
    with _without(_DRIVER_ONLY):
        if address is None:
            # "local": a stale file of a dead cluster must not be joined. Loopback: nobody else is let in.
            ray.init(address="local", include_dashboard=False, _node_ip_address="127.0.0.1", **options)
            return
        _check_reachable(address)
        try:
            ray.init(address=address, **options)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise InputError(
                f"--address {address}: must be a running Ray cluster: {_one_line(error)}"
            ) from error


def _check_reachable(address: str) -> None:
    """Ray itself would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not port.isdigit():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_SECONDS).close()
    except OSError as error:
        raise InputError(f"--address {address}: must be a running Ray cluster: {error}") from error


@contextmanager
def _without(names: Sequence[str]) -> Iterator[None]:
    """Workers inherit the environment of the process that starts Ray; these stay with the driver."""
    hidden = {name: os.environ.pop(name) for name in names if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(hidden)


def _one_line(error: Exception) -> str:
    """What went wrong in a line; where Ray wraps a traceback, its last line says it."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    return lines[-1] if "creation task" in lines[0] else f"{type(error).__name__}: {lines[0]}"
