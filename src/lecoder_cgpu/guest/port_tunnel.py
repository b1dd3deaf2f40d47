"""A kernel's process turned into a tunnel: TCP connections to this machine's ports, over the kernel's own channels.

Runs on the runtime (Python 3.8 and newer, standard library and pyzmq). `ports.tunnel` starts a kernel of its own and
has it replace itself with this program, which binds the kernel's ports anew (protocol J13). So every way to a kernel
also leads here, and no port is opened to the world. Messages of type `lecoder_tunnel` carry a small JSON content and
raw bytes. Every byte has an offset and is kept until it is acknowledged: a client that lost its connection goes on
where it was.
"""

from __future__ import annotations

import collections
import contextlib
import hashlib
import hmac
import json
import os
import signal
import socket
import sys
import time
from typing import Any

import zmq

MESSAGE = "lecoder_tunnel"
WINDOW = 8 << 20  # bytes that may be on their way unacknowledged, in each direction of a connection
CHUNK = 256 << 10
ACK_EVERY = 512 << 10
ACK_AFTER = 0.5  # seconds
SILENCE = 120.0  # seconds without a word from the client (it speaks every ten) before its connections are closed
CONNECT_LIMIT = 10.0
DELIMITER = b"<IDS|MSG>"


class Link:
    """One TCP connection. Offsets count the bytes of each direction from its beginning."""

    def __init__(self, number: int, connection: socket.socket) -> None:
        self.number = number
        self.socket = connection
        self.opened = False
        self.deadline = time.monotonic() + CONNECT_LIMIT
        # to the client
        self.sent = 0
        self.acknowledged = 0
        self.unacknowledged: collections.deque[tuple[int, bytes]] = collections.deque()
        self.read_all = False
        # from the client
        self.received = 0
        self.written = 0
        self.told = 0
        self.waiting: collections.deque[memoryview] = collections.deque()
        self.ends_at: int | None = None
        self.shut = False

    @property
    def wanted(self) -> int:
        """What to poll for."""
        events = 0
        if not self.opened or self.waiting:
            events |= zmq.POLLOUT
        if self.opened and not self.read_all and self.sent - self.acknowledged < WINDOW:
            events |= zmq.POLLIN
        return events

    @property
    def over(self) -> bool:
        return self.read_all and self.shut


class Channels:
    """The kernel's sockets, and the signatures of its messages."""

    def __init__(self, info: dict[str, Any]) -> None:
        self._key = info["key"].encode()
        self._digest = getattr(hashlib, info.get("signature_scheme", "hmac-sha256").partition("-")[2])
        self._count = 0
        self._session = os.urandom(8).hex()
        context: Any = zmq.Context.instance()
        self.shell = self._bound(context, zmq.ROUTER, info, "shell_port")
        self.control = self._bound(context, zmq.ROUTER, info, "control_port")
        self.stdin = self._bound(context, zmq.ROUTER, info, "stdin_port")
        self.iopub = self._bound(context, zmq.PUB, info, "iopub_port")
        self.heartbeat = self._bound(context, zmq.REP, info, "hb_port")

    @staticmethod
    def _bound(context: Any, kind: int, info: dict[str, Any], port: str) -> Any:
        bound = context.socket(kind)
        bound.linger = 1000
        bound.sndhwm = bound.rcvhwm = 0  # a router drops what exceeds its queue; the windows bound what is in it
        if kind == zmq.ROUTER:
            bound.router_handover = 1
        separator = ":" if info["transport"] == "tcp" else "-"
        address = "{}://{}{}{}".format(info["transport"], info["ip"], separator, info[port])
        for attempt in range(100):
            try:
                bound.bind(address)
                break
            except zmq.ZMQError:
                if attempt == 99:
                    raise
                time.sleep(0.05)
        return bound

    def receive(self, channel: Any) -> tuple[list[bytes], dict[str, Any], dict[str, Any], list[bytes]] | None:
        """Identities, header, content and buffers of a message; None when there is none that is signed."""
        try:
            parts = channel.recv_multipart(zmq.NOBLOCK)
            at = parts.index(DELIMITER)
            signature, signed = parts[at + 1], parts[at + 2 : at + 6]
            if self._key and not hmac.compare_digest(self._signature(signed), signature):
                return None
            return parts[:at], json.loads(signed[0]), json.loads(signed[3]), parts[at + 6 :]
        except (zmq.Again, ValueError, IndexError):
            return None

    def send(
        self,
        channel: Any,
        identities: list[bytes],
        kind: str,
        content: dict[str, Any],
        parent: dict[str, Any] | None = None,
        buffers: tuple[Any, ...] = (),
    ) -> None:
        self._count += 1
        header = {
            "msg_id": f"{self._session}_{self._count}",
            "msg_type": kind,
            "session": self._session,
            "username": "lecoder-cgpu",
            "date": "2026-01-01T00:00:00Z",
            "version": "5.3",
        }
        signed = [json.dumps(item).encode() for item in (header, parent or {}, {}, content)]
        channel.send_multipart([*identities, DELIMITER, self._signature(signed), *signed, *buffers], copy=True)

    def _signature(self, parts: list[bytes]) -> bytes:
        if not self._key:
            return b""
        return hmac.new(self._key, b"".join(parts), self._digest).hexdigest().encode()

    def status(self, state: str, parent: dict[str, Any] | None = None) -> None:
        self.send(self.iopub, [b"status"], "status", {"execution_state": state}, parent)


class TunnelEnd:
    """The other end of `ports.tunnel`. It serves one client."""

    def __init__(self, channels: Channels) -> None:
        self._channels = channels
        self._links: dict[int, Link] = {}
        self._client: list[bytes] = []
        self._heard = time.monotonic()

    def run(self) -> None:
        """Serve until the kernel is shut down, or its server is gone."""
        parent = os.getppid()
        next_look = 0.0
        while os.getppid() == parent:
            poller = zmq.Poller()
            for channel in (self._channels.shell, self._channels.control, self._channels.heartbeat):
                poller.register(channel, zmq.POLLIN)
            by_fd = {}
            for link in self._links.values():
                if link.wanted:
                    by_fd[link.socket.fileno()] = link
                    poller.register(link.socket.fileno(), link.wanted)
            events = dict(poller.poll(int(ACK_AFTER * 1000)))
            if self._channels.heartbeat in events:
                self._channels.heartbeat.send(self._channels.heartbeat.recv())
            if self._channels.control in events and not self._serve(self._channels.control):
                return
            for fd, link in by_fd.items():
                if fd in events and self._links.get(link.number) is link:
                    self._act(link, events[fd])
            if self._channels.shell in events:
                for _ in range(64):  # and then look after the connections again
                    if not self._serve(self._channels.shell):
                        break
            if time.monotonic() > next_look:
                next_look = time.monotonic() + ACK_AFTER
                self._look_after()

    def _look_after(self) -> None:
        for link in list(self._links.values()):
            if link.written > link.told:
                self._acknowledge(link)
            if not link.opened and time.monotonic() > link.deadline:
                self._drop(link, "no answer in time")
        if time.monotonic() - self._heard > SILENCE:
            for link in list(self._links.values()):
                self._drop(link, None)

    # --- messages ---

    def _serve(self, channel: Any) -> bool:
        """Take one message; False when there is none, and on control when it is the end."""
        message = self._channels.receive(channel)
        if message is None:
            return channel is self._channels.control
        identities, header, content, buffers = message
        kind = header.get("msg_type")
        if kind == MESSAGE:
            self._client, self._heard = identities, time.monotonic()
            getattr(self, "_on_" + content["o"])(content, buffers)
        elif kind == "kernel_info_request":
            self._channels.status("busy", header)
            info = {
                "status": "ok",
                "protocol_version": "5.3",
                "implementation": "lecoder-cgpu-tunnel",
                "implementation_version": "1",
                "banner": "",
                "help_links": [],
                "language_info": {"name": "none", "version": "", "mimetype": "", "file_extension": ""},
            }
            self._channels.send(channel, identities, "kernel_info_reply", info, header)
            self._channels.status("busy" if self._links else "idle", header)
        elif kind == "shutdown_request":
            self._channels.send(channel, identities, "shutdown_reply", {"status": "ok", "restart": False}, header)
            return False
        return True

    def _tell(self, operation: str, link: int | None = None, data: Any = None, **content: Any) -> None:
        if link is not None:
            content["c"] = link
        buffers = () if data is None else (data,)
        self._channels.send(self._channels.shell, self._client, MESSAGE, {"o": operation, **content}, buffers=buffers)

    def _on_hello(self, content: dict[str, Any], buffers: list[bytes]) -> None:
        self._tell("hello")

    def _on_ping(self, content: dict[str, Any], buffers: list[bytes]) -> None:
        self._channels.status("busy" if self._links else "idle")
        self._tell("pong")

    def _on_open(self, content: dict[str, Any], buffers: list[bytes]) -> None:
        number = content["c"]
        if number in self._links:  # asked twice, around a lost connection
            return
        link = Link(number, socket.socket(socket.AF_INET, socket.SOCK_STREAM))
        link.socket.setblocking(False)
        with contextlib.suppress(OSError):
            link.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if not self._links:
            self._channels.status("busy")
        self._links[number] = link
        with contextlib.suppress(BlockingIOError):
            try:
                link.socket.connect(("127.0.0.1", content["p"]))
            except BlockingIOError:
                raise
            except OSError as error:
                self._drop(link, error.strerror or str(error))

    def _on_data(self, content: dict[str, Any], buffers: list[bytes]) -> None:
        link = self._links.get(content["c"])
        if link is None:
            return
        data = memoryview(buffers[0])
        known = link.received - content["f"]
        if known < 0 or known >= len(data):  # behind a gap that will be filled, or all of it came before
            return
        link.received += len(data) - known
        link.waiting.append(data[known:])
        if link.opened:
            self._write(link)

    def _on_eof(self, content: dict[str, Any], buffers: list[bytes]) -> None:
        link = self._links.get(content["c"])
        if link is not None:
            link.ends_at = content["f"]
            if link.opened:
                self._write(link)

    def _on_ack(self, content: dict[str, Any], buffers: list[bytes]) -> None:
        link = self._links.get(content["c"])
        if link is not None:
            self._take_acknowledgement(link, content["f"])

    def _on_close(self, content: dict[str, Any], buffers: list[bytes]) -> None:
        link = self._links.get(content["c"])
        if link is not None:
            self._drop(link, None)

    def _on_sync(self, content: dict[str, Any], buffers: list[bytes]) -> None:
        """The client is back: agree on what each side has, then send again what it has not."""
        theirs = {int(number): offset for number, offset in content["r"].items()}
        for link in list(self._links.values()):
            if link.number not in theirs:
                self._drop(link, None)
        self._tell("sync", r={str(link.number): link.received for link in self._links.values()})
        for link in self._links.values():
            self._take_acknowledgement(link, theirs[link.number])
            if link.opened:
                self._tell("opened", link.number)
            self._acknowledge(link)
            for offset, data in link.unacknowledged:
                self._tell("data", link.number, data, f=offset)
            if link.read_all:
                self._tell("eof", link.number, f=link.sent)

    # --- connections ---

    def _act(self, link: Link, events: int) -> None:
        if not link.opened:
            problem = link.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if problem:
                self._drop(link, os.strerror(problem))
                return
            link.opened = True
            self._tell("opened", link.number)
        if events & (zmq.POLLIN | zmq.POLLERR):
            self._read(link)
        if self._links.get(link.number) is link:
            self._write(link)

    def _read(self, link: Link) -> None:
        while not link.read_all and link.sent - link.acknowledged < WINDOW:
            try:
                data = link.socket.recv(CHUNK)
            except BlockingIOError:
                return
            except OSError as error:
                self._drop(link, error.strerror or str(error))
                return
            if data:
                self._tell("data", link.number, data, f=link.sent)
                link.unacknowledged.append((link.sent, data))
                link.sent += len(data)
                if len(data) < CHUNK:
                    return
            else:
                link.read_all = True
                self._tell("eof", link.number, f=link.sent)
                self._end_if_over(link)

    def _write(self, link: Link) -> None:
        try:
            while link.waiting:
                count = link.socket.send(link.waiting[0])
                link.written += count
                rest = link.waiting.popleft()[count:]
                if rest:
                    link.waiting.appendleft(rest)
            if link.ends_at is not None and link.written >= link.ends_at and not link.shut:
                link.shut = True
                link.socket.shutdown(socket.SHUT_WR)
        except BlockingIOError:
            pass
        except OSError as error:
            self._drop(link, error.strerror or str(error))
            return
        if link.written - link.told >= ACK_EVERY:
            self._acknowledge(link)
        self._end_if_over(link)

    def _acknowledge(self, link: Link) -> None:
        link.told = link.written
        self._tell("ack", link.number, f=link.written)

    @staticmethod
    def _take_acknowledgement(link: Link, offset: int) -> None:
        link.acknowledged = max(link.acknowledged, offset)
        while link.unacknowledged and link.unacknowledged[0][0] + len(link.unacknowledged[0][1]) <= link.acknowledged:
            link.unacknowledged.popleft()

    def _end_if_over(self, link: Link) -> None:
        """Both directions have ended: nothing is lost by forgetting the connection, once all was acknowledged."""
        if link.over and link.written > link.told:
            self._acknowledge(link)

    def _drop(self, link: Link, problem: str | None) -> None:
        """End a connection, and say why unless the client knows."""
        link.socket.close()
        del self._links[link.number]
        if problem is not None:
            self._tell("closed", link.number, e=problem)
        if not self._links:
            self._channels.status("idle")


def main(connection_file: str) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # The kernel had pipes of its own behind these, with nobody at their other end now.
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (1, 2):
        os.dup2(null, fd)
    with open(connection_file, encoding="utf-8") as file:
        info = json.load(file)
    TunnelEnd(Channels(info)).run()
    zmq.Context.instance().term()


if __name__ == "__main__":
    main(sys.argv[1])
