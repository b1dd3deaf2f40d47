"""The least that any client must do: import the same libraries, connect, run one piece of code, print what it says.

`python floor.py WS_URL TOKEN CODE [ID]`. It keeps no state, handles no failure and knows no option: a floor to measure
by. ID is that of its request, by which the recorder knows runs that it is to keep.
"""

from __future__ import annotations

import json
import socket
import sys

import click  # noqa: F401 - what the command line needs anyway
import msgspec  # noqa: F401
from websockets.sync.client import connect


def main(url: str, token: str, code: str, msg_id: str = "floor") -> None:
    """Run `code` and print its stdout until both reply and idle have come."""
    header = {"msg_id": msg_id, "msg_type": "execute_request", "session": "floor", "username": "", "version": "5.3"}
    content = {"code": code, "silent": False, "store_history": True, "user_expressions": {}, "allow_stdin": False}
    request = {"channel": "shell", "header": header, "parent_header": {}, "metadata": {}, "content": content}
    waiting = {"execute_reply", "idle"}
    headers = {"Authorization": f"token {token}"}
    with connect(url, additional_headers=headers, max_size=None, compression=None, proxy=None) as socket_:
        socket_.send(json.dumps(request))
        while waiting:
            message = json.loads(socket_.recv())
            socket_.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
            if message["parent_header"].get("msg_id") != msg_id:
                continue
            if message["msg_type"] == "stream":
                sys.stdout.write(message["content"]["text"])
            waiting.discard(message["msg_type"])
            waiting.discard(message["content"].get("execution_state", ""))


if __name__ == "__main__":
    main(*sys.argv[1:5])
