"""Plays the process of a kernel of another language, over real sockets: it publishes what lines of stdin say.

A program of its own, with the connection file as its argument: `begin RUN LINES`, `idle RUN`. Its end is that of stdin,
after everything that it has published is on its way.
"""

from __future__ import annotations

import json
import select
import sys
import time
from typing import Any

import zmq


def parts(kind: str, parent: dict[str, Any], **content: Any) -> list[bytes]:
    header = {"msg_id": str(time.monotonic_ns()), "msg_type": kind, "session": "of the client"}
    return [b"<IDS|MSG>", b"", *(json.dumps(part).encode() for part in (header, parent, {}, content))]


class Kernel:
    def __init__(self, connection: dict[str, Any]) -> None:
        self._context = zmq.Context()
        self._published = self._bound(zmq.PUB, connection["iopub_port"])
        self._asked = [self._bound(zmq.ROUTER, connection[name]) for name in ("control_port", "shell_port")]

    def _bound(self, kind: int, port: int) -> zmq.Socket[bytes]:
        made = self._context.socket(kind)
        made.setsockopt(zmq.SNDHWM, 0)
        made.bind(f"tcp://127.0.0.1:{port}")
        return made

    def publish(self, kind: str, parent: dict[str, Any], times: int = 1, **content: Any) -> None:
        frames = [b"topic", *parts(kind, parent, **content)]
        for _ in range(times):  # the same message: faster than anybody can write it down
            self._published.send_multipart(frames)

    def answer(self) -> None:
        for channel in self._asked:
            while channel.poll(0):
                client, _, _, header, *_ = channel.recv_multipart()
                parent = json.loads(header)
                self.publish("status", parent, execution_state="busy")
                kind = parent["msg_type"].replace("request", "reply")
                channel.send_multipart([client, *parts(kind, parent, status="ok", language_info={"name": "odd"})])
                self.publish("status", parent, execution_state="idle")

    def obey(self, order: str, run: str, lines: str = "0") -> None:
        parent = {"msg_id": run, "msg_type": "execute_request"}
        if order == "begin":
            self.publish("status", parent, execution_state="busy")
            self.publish("execute_input", parent, code="code")
            self.publish("stream", parent, int(lines), name="stdout", text="line\n")
        else:
            self.publish("status", parent, execution_state="idle")

    def serve(self) -> None:
        while True:
            self.answer()
            if select.select([sys.stdin], [], [], 0.01)[0]:
                line = sys.stdin.readline()
                if not line:
                    break
                self.obey(*line.split())
                print("done", flush=True)
        self._context.destroy(linger=60_000)


if __name__ == "__main__":
    with open(sys.argv[1]) as file:
        Kernel(json.load(file)).serve()
