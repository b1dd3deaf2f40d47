"""Runs over one connection: `python kept.py WS_URL TOKEN COUNT` prints the seconds that each takes."""

from __future__ import annotations

import json
import sys
import time

from websockets.sync.client import connect


def main(url: str, token: str, count: int) -> None:
    headers = {"Authorization": f"token {token}"}
    with connect(url, additional_headers=headers, max_size=None, compression=None, proxy=None) as socket:
        for number in range(count):
            began = time.perf_counter()
            name = f"kept-{number}"
            header = {
                "msg_id": name,
                "msg_type": "execute_request",
                "session": "kept",
                "username": "",
                "version": "5.3",
            }
            content = {"code": "print(1)", "silent": False, "store_history": True, "user_expressions": {}}
            socket.send(
                json.dumps(
                    {"channel": "shell", "header": header, "parent_header": {}, "metadata": {}, "content": content}
                )
            )
            waiting = {"execute_reply", "idle"}
            while waiting:
                message = json.loads(socket.recv())
                if message["parent_header"].get("msg_id") == name:
                    waiting -= {message["msg_type"], message["content"].get("execution_state", "")}
            print(time.perf_counter() - began)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
