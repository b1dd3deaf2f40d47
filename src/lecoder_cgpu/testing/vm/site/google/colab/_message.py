"""Requests from the kernel to its client, and their answers on the stdin channel."""

from __future__ import annotations

import http.client
import itertools
import json
import os
import time
from typing import Any

import zmq
from IPython import get_ipython  # type: ignore[attr-defined,unused-ignore]

from .errors import MessageError

POLL = 0.025  # seconds between two looks at the stdin channel
_ids = itertools.count(1)


def send_request(kind: str, request: Any, *, answered: bool = False) -> int | None:
    """Publish a request; returns its id if an answer is wanted."""
    kernel = _kernel()
    number = next(_ids) if answered else None
    metadata: dict[str, Any] = {"colab_request_type": kind}
    if number is not None:
        metadata["colab_msg_id"] = number
    kernel.session.send(
        kernel.iopub_socket,
        "colab_request",
        {"request": request},
        metadata=metadata,
        parent=kernel.get_parent() or {"session": kernel.session.session},
        ident=b"colab_request",
    )
    return number


def blocking_request(kind: str, request: Any = None, timeout_sec: float | None = 5) -> Any:
    """Publish a request and wait for its answer; None if none came in time.

    Whatever else arrives on the stdin channel meanwhile is thrown away.

    Raises:
        MessageError: the client answered with an error.
    """
    number = send_request(kind, request, answered=True)
    deadline = None if timeout_sec is None else _virtual() + timeout_sec
    looked = time.monotonic()
    while True:
        value = _reply(number)
        if value is not None:
            if "error" in value:
                raise MessageError(value["error"])
            return value.get("data")
        time.sleep(POLL)
        if deadline is not None and time.monotonic() - looked > 0.2:
            looked = time.monotonic()
            if _virtual() > deadline:
                return None


def _reply(number: int | None) -> dict[str, Any] | None:
    """The answer to that request, if it is there."""
    kernel = _kernel()
    while True:
        try:
            frames = kernel.stdin_socket.recv_multipart(zmq.NOBLOCK)
        except zmq.ZMQError:
            return None
        _, frames = kernel.session.feed_identities(frames)
        value = kernel.session.deserialize(frames)["content"].get("value")
        if isinstance(value, dict) and value.get("type") == "colab_reply" and value.get("colab_msg_id") == number:
            return value


def _virtual() -> float:
    """The fake Colab's clock."""
    return float(ask("/clock")["now"])


def ask(path: str) -> Any:
    """Ask the VM's own service."""
    connection = http.client.HTTPConnection(os.environ["TBE_RUNTIME_ADDR"], timeout=10)
    try:
        connection.request("GET", path)
        return json.load(connection.getresponse())
    finally:
        connection.close()


def _kernel() -> Any:
    shell = get_ipython()  # type: ignore[no-untyped-call,unused-ignore]
    if shell is None or not hasattr(shell, "kernel"):
        raise RuntimeError("there is no kernel, hence no client to ask")
    return shell.kernel
