"""In which form a server takes and sends the frames of kernels: as it has agreed to, or not (protocol J21).

A server, or a proxy before it, may agree to the v1 subprotocol and speak the default one all the same, or the other way
round. Then nothing that is sent has an answer. So the first socket of a session is tried, once, and the session keeps
what was found out.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Literal

from .. import errors
from ..net.websocket import WebSocket
from . import messages

Form = Literal["agreed", "default", "v1"]
FORMS: tuple[Form, ...] = ("agreed", "default", "v1")
PATIENCE = 3.0  # seconds for the answer to a question that kernels answer while they work


class FrameForm:
    """Shared by all sockets to one server.

    Args:
        known: what was found out, None if that is still to be done.
        on_known: told when it is found out.
    """

    def __init__(self, known: Form | None = "agreed", on_known: Callable[[Form], None] = lambda form: None) -> None:
        self.known = known
        self._on_known = on_known

    def open(self, connect: Callable[[bool], WebSocket], session_id: str) -> WebSocket:
        """A socket in the right form.

        Args:
            connect: opens one, with or without offering v1. session_id: of our client.

        Raises:
            errors.Error: what `connect` raises.
        """
        if self.known is not None:
            return _formed(self.known, connect)
        for form, socket in self._sockets(connect):
            if _answers(socket, session_id):
                self.known = form
                self._on_known(form)
                return socket
            socket.close()
        return _formed("agreed", connect)  # a kernel that answers nothing while it works

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


def _answers(socket: WebSocket, session_id: str) -> bool:
    """Whether a kernel's message comes that we can read, after we have asked for one."""
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
            if message is not None and message.parent in [request.msg_id for request in asked]:
                return True
    except errors.ConnectionFailed:
        pass
    return False
