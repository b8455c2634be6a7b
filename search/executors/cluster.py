"""Ask a running Ray cluster, before Ray joins it, what would make Ray fail after a long wait.

Ray reports a missing token after 20 s as a failed connection. Here a single call tells what is wrong, and on
which machine to mend it.
"""

import json
import os
import platform
import socket
from collections.abc import Callable
from typing import Any

import ray
from ray.core.generated import gcs_service_pb2, gcs_service_pb2_grpc

from loratory.search.executors.ray_token import Token, find_token, set_token_mode, token_sources
from loratory.spaces.errors import InputError

_CONNECT_SECONDS = 4.0


def resolve_address(address: str) -> str | None:
    """Return HOST:PORT of a cluster; None for `local`, which means to start Ray here.

    Raises:
        InputError: no cluster is found on this machine, or the address is none.
    """
    try:
        resolved: str | None = ray._private.services.canonicalize_bootstrap_address(address)
    except (ConnectionError, ValueError, OSError) as error:
        raise _refusal(address, f"must be HOST:PORT of a running Ray cluster: {error}") from error
    if resolved is None and address == "auto":
        raise _refusal(
            address, f"no Ray runs on {_here()}: start it with `ray start --head`, or name its HOST:PORT"
        )
    return resolved


def check_cluster(address: str) -> Callable[[], None]:
    """Check that this process may join a cluster, and give it the token that it needs.

    Args:
        address: HOST:PORT.

    Returns:
        A function that takes the process back to the mode of authentication that it had.

    Raises:
        InputError: the cluster does not answer, wants another token, has other versions, or this machine is
            none of its nodes.
    """
    check_reachable(address)
    if _has_own_security():
        return lambda: None
    token = _token_for(address)
    _check_versions(address, token)
    _check_place(address, token)
    return set_token_mode(needed=token is not None)


def check_reachable(address: str) -> None:
    """Raise InputError if nothing listens at the address; Ray would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not port.isdigit():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_SECONDS).close()
    except OSError as error:
        raise _refusal(address, f"must be a running Ray cluster: {error}") from error


def _has_own_security() -> bool:
    """Return whether TLS or Kubernetes guards the cluster, which Ray's own settings describe."""
    names = ("RAY_USE_TLS", "RAY_ENABLE_K8S_TOKEN_AUTH")
    return any(os.environ.get(name, "0").lower() in ("1", "true") for name in names)


def _token_for(address: str) -> Token | None:
    """Return the token that the cluster takes; None if it asks for none."""
    if _is_open_to(address, None):
        return None
    host = address.rpartition(":")[0]
    if os.environ.get("RAY_AUTH_MODE", "token").lower() != "token":
        mode = os.environ["RAY_AUTH_MODE"]
        raise _refusal(
            address, f"the cluster wants a token, and RAY_AUTH_MODE is {mode} on {_here()}: unset it"
        )
    token = find_token()
    if token is None:
        raise _refusal(
            address,
            f"the cluster wants a token, and {_here()} has none ({token_sources()}): copy ~/.ray/auth_token "
            f"from {host}, where `ray start --head` ran, to {_here()}",
        )
    if not _is_open_to(address, token):
        raise _refusal(
            address,
            f"the cluster refuses the token of {token.source} on {_here()}: put that of {host} there, "
            "which is in ~/.ray/auth_token where `ray start --head` ran (`ray get-auth-token` prints it)",
        )
    return token


def _is_open_to(address: str, token: Token | None) -> bool:
    service, request = gcs_service_pb2_grpc.NodeInfoGcsServiceStub, gcs_service_pb2.CheckAliveRequest()
    try:
        _ask(address, service, "CheckAlive", request, token=token)
    except PermissionError:
        return False
    return True


def _check_versions(address: str, token: Token | None) -> None:
    """Compare versions as Ray does, which joins only where they are equal."""
    service = gcs_service_pb2_grpc.InternalKVGcsServiceStub
    request = gcs_service_pb2.InternalKVGetRequest(namespace=b"cluster", key=b"CLUSTER_METADATA")
    reply = _ask(address, service, "InternalKVGet", request, token=token)
    if not reply.value:
        return
    cluster = json.loads(reply.value)
    theirs = (cluster["ray_version"], cluster["python_version"])
    ours = (ray.__version__, platform.python_version())
    if theirs[0] != ours[0] or _compared(theirs[1]) != _compared(ours[1]):
        host = address.rpartition(":")[0]
        raise _refusal(
            address,
            f"versions must be equal on all nodes: {host} has Ray {theirs[0]} on Python {theirs[1]}, "
            f"{_here()} has Ray {ours[0]} on Python {ours[1]}; install the same on both, "
            f"then start Ray on {host} anew",
        )


def _compared(version: str) -> list[str]:
    level = os.environ.get("RAY_DEFAULT_PYTHON_VERSION_MATCH_LEVEL", "patch")
    return version.split(".")[: 2 if level == "minor" else 3]


def _check_place(address: str, token: Token | None) -> None:
    """Check that a node of the cluster runs on this machine: a driver talks to Ray through it."""
    service, request = gcs_service_pb2_grpc.NodeInfoGcsServiceStub, gcs_service_pb2.GetAllNodeInfoRequest()
    reply = _ask(address, service, "GetAllNodeInfo", request, token=token)
    nodes = {node.node_id.hex() for node in reply.node_info_list}
    if not nodes & set(ray._private.services.find_node_ids()):
        mode = "RAY_AUTH_MODE=token " if token else ""
        raise _refusal(
            address,
            f"{_here()} must be a node of the cluster: run `{mode}ray start --address={address}` on it first "
            "(--num-cpus=0 keeps workers away)",
        )


def _ask(address: str, service: Any, method: str, request: Any, *, token: Token | None) -> Any:
    """Call a method of a cluster's head, and return the reply.

    Raises:
        PermissionError: the head wants another token.
        InputError: what answers is no head of a Ray cluster, or nothing does in time.
    """
    import grpc

    metadata = [("authorization", f"Bearer {token.text}")] if token else []
    try:
        # A proxy of the network must not stand between nodes.
        with grpc.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)]) as channel:
            return getattr(service(channel), method)(request, timeout=_CONNECT_SECONDS, metadata=metadata)
    except grpc.RpcError as error:
        if error.code() is grpc.StatusCode.UNAUTHENTICATED:
            raise PermissionError(address) from error
        raise _refusal(
            address, f"must be the head of a Ray cluster, whose port is 6379 by default: {error.details()}"
        ) from error


def _here() -> str:
    return socket.gethostname()


def _refusal(address: str, rule: str) -> InputError:
    return InputError(f"--address {address}: {rule}")
