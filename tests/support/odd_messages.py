"""Messages of a kernel with something wrong in them, and a kernel of ZeroMQ sockets that sends them."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any

import zmq
from hypothesis import strategies as st

from tests.support.odd_json import anything

Parts = list[bytes]  # header, parent header, metadata, content

CONTENTS: dict[str, dict[str, Any]] = {
    "status": {"execution_state": "busy"},
    "execute_input": {"code": "1", "execution_count": 1},
    "stream": {"name": "stdout", "text": "hello\n"},
    "display_data": {
        "data": {"text/plain": "1", "image/png": "AAAA"},
        "metadata": {},
        "transient": {"display_id": "d"},
    },
    "update_display_data": {"data": {"text/plain": "2"}, "metadata": {}, "transient": {"display_id": "d"}},
    "execute_result": {"data": {"text/plain": "3"}, "metadata": {}, "execution_count": 1},
    "clear_output": {"wait": True},
    "error": {"ename": "KeyError", "evalue": "'x'", "traceback": ["KeyError: 'x'"]},
    "execute_reply": {
        "status": "error",
        "ename": "KeyError",
        "evalue": "'x'",
        "traceback": ["KeyError: 'x'"],
        "execution_count": 1,
        "payload": [{"source": "page", "data": {"text/plain": "help"}}],
        "user_expressions": {"value": {"status": "ok", "data": {"text/plain": "1"}}},
    },
    "lecoder_reply": {"status": "ok", "execution_count": 1, "unsent": 1, "shellExit": 2},
    "input_request": {"prompt": "name? ", "password": False},
    "comm_open": {
        "comm_id": "c",
        "target_name": "jupyter.widget",
        "data": {"state": {"_model_name": "OutputModel", "value": 1}, "buffer_paths": [["value"]]},
    },
    "comm_msg": {"comm_id": "c", "data": {"method": "update", "state": {"msg_id": "RUN"}, "buffer_paths": []}},
    "comm_close": {"comm_id": "c", "data": {}},
    "colab_request": {"request": {"method": "x"}},
}

DEEP = "[" * 400 + "]" * 400
ODD_VALUES = (
    b'"caf\xe9"', b'"\xed\xa0\x80"', b'"\\ud800"', b'"\\udc80x"', b"NaN", b"-Infinity", b"1e999", b"1" + b"0" * 5000,
    DEEP.encode(), b"[" * 20_000, b"", b"{", b'{"a"', b"null", b"true", b"[]", b'""', b'"a\nb"', b"{\n}",
    b'{"":{"":[]}}',
    b'{"text/plain":5}', b'{"text/html":null}', b'"' + b"x" * 70_000 + b'"',
)  # fmt: skip
ODD_IDS = (
    "k_1_\u00b2",
    "k_1_" + "9" * 5000,
    "k_1_-3",
    "k_1_3.5",
    "",
    "_",
    "k_1_\udc80",
    "\x00",
    "run-0000000000000000",
)


def _encoded(value: Any) -> bytes:
    return json.dumps(value).encode("utf-8", "replace")


@st.composite
def odd_parts(draw: st.DrawFn, run: str) -> Parts:
    """One message of that run, with one thing wrong or none."""
    kind = draw(st.sampled_from(sorted(CONTENTS)))
    header = {"msg_id": f"k_1_{draw(st.integers(0, 40))}", "msg_type": kind, "session": "k"}
    parent: Any = {"msg_id": run, "msg_type": "execute_request", "session": "s"}
    content: Any = dict(CONTENTS[kind])
    if kind == "comm_msg" and draw(st.booleans()):  # from here on, a widget captures the output
        content = {**content, "data": {**content["data"], "state": {"msg_id": run}}}
    where = draw(st.sampled_from(["nothing", "field", "raw field", "part", "bytes", "header", "id", "more"]))
    if where == "field":
        content[draw(st.sampled_from(sorted(content)))] = draw(anything)
    elif where == "more":
        content |= draw(st.dictionaries(st.sampled_from(["data", "text", "wait", "transient", "metadata"]), anything))
    elif where == "id":
        header["msg_id"] = draw(st.sampled_from(ODD_IDS))
    elif where == "header":
        header[draw(st.sampled_from(sorted(header)))] = draw(anything)
    parts = [_encoded(header), _encoded(parent), b"{}", _encoded(content)]
    if where == "raw field":
        name = draw(st.sampled_from(sorted(content)))
        rest = {key: value for key, value in content.items() if key != name}
        odd = draw(st.sampled_from(ODD_VALUES))
        parts[3] = b"{" + _encoded(name) + b":" + odd + (b"," + _encoded(rest)[1:] if rest else b"}")
    elif where == "part":
        parts[draw(st.integers(0, 3))] = draw(st.sampled_from(ODD_VALUES))
    elif where == "bytes":
        place = draw(st.integers(0, 3))
        at = draw(st.integers(0, len(parts[place]) - 1))
        parts[place] = parts[place][:at] + draw(st.binary(max_size=3)) + parts[place][at + 1 :]
    return parts


def v1_frame(channel: str, parts: Parts) -> bytes:
    """The frame that a server makes of a message under the v1 subprotocol."""
    pieces = [channel.encode(), *parts]
    offsets = [8 * (len(pieces) + 2)]
    for piece in pieces:
        offsets.append(offsets[-1] + len(piece))
    return b"".join(number.to_bytes(8, "little") for number in (len(offsets), *offsets)) + b"".join(pieces)


def text_frame(channel: str, parts: Parts) -> bytes:
    """The same as one JSON text in a binary frame without buffers; it may not be JSON."""
    names = (b"header", b"parent_header", b"metadata", b"content")
    fields = b",".join(b'"%b":%b' % pair for pair in zip(names, parts, strict=True))
    return (1).to_bytes(4, "big") + (8).to_bytes(4, "big") + b'{"channel":"%b",%b}' % (channel.encode(), fields)


class SocketKernel:
    """The sockets of a kernel that executes nothing. It publishes what it is told to, and says that it lives.

    `script`: what it sends for each `execute_request` that is not silent, before the reply and `idle`: replies on the
    shell channel, and all else on iopub.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.script: list[Parts] = []
        self.connection = folder / f"kernel-{name}.json"
        self._context = zmq.Context()
        self._iopub = self._context.socket(zmq.PUB)
        self._shell = self._context.socket(zmq.ROUTER)
        self._control = self._context.socket(zmq.ROUTER)
        ports = {}
        for channel, socket in (("iopub", self._iopub), ("shell", self._shell), ("control", self._control)):
            socket.setsockopt(zmq.SNDHWM, 0)
            ports[f"{channel}_port"] = socket.bind_to_random_port("tcp://127.0.0.1")
        self.connection.write_text(json.dumps({"transport": "tcp", "ip": "127.0.0.1", "key": "", **ports}))
        self._orders = self._context.socket(zmq.PULL)
        self._orders.bind(f"inproc://{name}")
        self._order = self._context.socket(zmq.PUSH)
        self._order.connect(f"inproc://{name}")
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def publish(self, messages: list[Parts]) -> None:
        """Publish these on iopub, in this order."""
        for parts in messages:
            self._order.send_multipart(parts)

    def _serve(self) -> None:
        poller = zmq.Poller()
        for socket in (self._shell, self._control, self._orders):
            poller.register(socket, zmq.POLLIN)
        while True:
            ready = dict(poller.poll())
            if self._orders in ready:
                parts = self._orders.recv_multipart()
                if parts == [b"end"]:
                    break
                self._send(parts)
            for socket in (self._control, self._shell):
                if socket in ready:
                    self._answer(socket)
        for socket in (self._iopub, self._shell, self._control, self._orders):
            socket.close(linger=0)

    def _answer(self, socket: Any) -> None:
        parts = socket.recv_multipart()
        start = parts.index(b"<IDS|MSG>") + 2
        header = json.loads(parts[start])
        content = json.loads(parts[start + 3])
        kind = header["msg_type"]
        self._send(message("status", header, execution_state="busy"))
        if kind == "execute_request" and not content["silent"]:
            self._send(message("execute_input", header, code=content["code"], execution_count=1))
            for odd in self.script:
                if b"execute_reply" in odd[0]:
                    socket.send_multipart([*parts[: start - 2], b"<IDS|MSG>", b"", *odd])
                else:
                    self._send(odd)
        reply = message(kind.replace("request", "reply"), header, status="ok", language_info={"name": "none"})
        socket.send_multipart([*parts[: start - 2], b"<IDS|MSG>", b"", *reply])
        self._send(message("status", header, execution_state="idle"))

    def _send(self, parts: Parts) -> None:
        self._iopub.send_multipart([b"topic", b"<IDS|MSG>", b"", *parts])

    def close(self) -> None:
        """End the kernel, whose connection file goes, too."""
        self.connection.unlink(missing_ok=True)
        self._order.send_multipart([b"end"])
        self._thread.join(10)
        self._order.close(linger=0)
        self._context.term()


def message(kind: str, parent: dict[str, Any], **content: Any) -> Parts:
    """A message as it should be."""
    header = {"msg_id": os.urandom(8).hex(), "msg_type": kind, "session": "k"}
    return [_encoded(header), _encoded(parent), b"{}", _encoded(content)]
