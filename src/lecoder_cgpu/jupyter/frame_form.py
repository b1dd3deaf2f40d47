"""In which form a server takes and sends the frames of kernels: as it has agreed to, or not (protocol J21).

A server, or a proxy before it, may agree to the v1 subprotocol and speak the default one all the same, or the other way
round. Then nothing that is sent has an answer. So the first socket of a session is tried, once, and the session keeps
what was found out. It is tried again when sockets break off without a word that can be read: the server may have been
replaced by another version since.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Literal

from .. import errors
from ..net.websocket import WebSocket
from . import messages

Form = Literal["agreed", "default", "v1"]
FORMS: tuple[Form, ...] = ("agreed", "default", "v1")
PATIENCE = 3.0  # seconds for the answer to a question that kernels answer while they work
MUTE = 2  # sockets that broke off without a word, one after the other, before what is known is tried again


class FrameForm:
    """Shared by all sockets to one server.

    Args:
        known: what was found out, None if that is still to be done.
        on_known: told when it is found out; None where it is certain.
    """

    def __init__(self, known: Form | None = "agreed", on_known: Callable[[Form], None] | None = None) -> None:
        self.known = known
        self._on_known = on_known
        self._latest: deque[WebSocket] = deque(maxlen=MUTE)
        self._doubted = False

    def open(self, connect: Callable[[bool], WebSocket], session_id: str) -> WebSocket:
        """A socket in the right form.

        Args:
            connect: opens one, with or without offering v1. session_id: of our client.

        Raises:
            errors.Error: what `connect` raises.
        """
        if self.known is not None and not self._is_doubtful():
            socket = _formed(self.known, connect)
            self._latest.append(socket)
            return socket
        for form, socket in self._sockets(connect):
            if _answers(socket, session_id):
                changed, self.known = form != self.known, form
                if changed and self._on_known is not None:
                    self._on_known(form)
                return socket
            socket.close()
        return _formed(self.known or "agreed", connect)  # a kernel that answers nothing while it works

    def _is_doubtful(self) -> bool:
        """Whether what is known should be tried again, which happens once: each attempt costs up to three sockets."""
        if self._doubted or self._on_known is None or len(self._latest) < MUTE:
            return False
        self._doubted = all(socket.close_code is not None and not _has_spoken(socket) for socket in self._latest)
        return self._doubted

    @staticmethod
    def _sockets(connect: Callable[[bool], WebSocket]) -> Iterator[tuple[Form, WebSocket]]:
        tried: list[str | None] = []
        for form in FORMS:
            if form == "v1" and messages.V1_SUBPROTOCOL in tried:
                return
            if form != "default" or None not in tried:
                socket = _formed(form, connect)
                tried.append(socket.subprotocol)
                yield form, socket


def _formed(form: Form, connect: Callable[[bool], WebSocket]) -> WebSocket:
    socket = connect(form == "agreed")
    if form == "v1":
        socket.subprotocol = messages.V1_SUBPROTOCOL
    return socket


def _has_spoken(socket: WebSocket) -> bool:
    """Whether the first frame that has come is one in the form that the socket is taken to have."""
    frame = socket.first
    if frame is None or (socket.subprotocol == messages.V1_SUBPROTOCOL and isinstance(frame, str)):
        return False
    try:
        messages.decode(frame, socket.subprotocol)
    except ValueError:
        return False
    return True


def _answers(socket: WebSocket, session_id: str) -> bool:
    """Whether a kernel's message comes that we can read, after we have asked for one. What else comes meanwhile, which
    the server may have kept for us (protocol J19), is received once more by whoever uses the socket."""
    others: list[str | bytes] = []
    deadline = time.monotonic() + PATIENCE
    asked = [
        messages.request("kernel_info_request", {}, session=session_id, channel=channel)
        for channel in ("control", "shell")
    ]
    try:
        for request in asked:
            socket.send(request.frame(socket.subprotocol))
        while (left := deadline - time.monotonic()) > 0:
            frame = socket.receive(left)
            try:
                message = messages.decode(frame, socket.subprotocol) if frame is not None else None
            except ValueError:
                continue
            if message is None or frame is None:
                continue
            if message.parent in [request.msg_id for request in asked]:
                socket.put_back(others)
                return True
            others.append(frame)
    except errors.ConnectionFailed:
        pass
    return False
