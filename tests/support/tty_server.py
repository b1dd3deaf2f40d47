"""A server as a Colab machine has it in front: `/colab/tty` with one shell for everybody, and no `/api/terminals`."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator

from tests.support.servers import end, free_port, wait_for_api

_PROGRAM = """
import json, sys
import tornado.ioloop, tornado.web
from terminado import SingleTermManager, TermSocket

class Tty(TermSocket):
    def get(self):
        return super().get("tty")
    def open(self, _=None):
        super().open("tty")
    def send_json_message(self, content):
        if content[0] == "stdout":
            self.write_message(json.dumps({"data": content[1]}))
        else:
            self.write_message(json.dumps({"unknown": 1}))
    async def on_message(self, message):
        frame = json.loads(message)
        if "data" in frame:
            await super().on_message(json.dumps(["stdin", frame["data"]]))
        else:
            await super().on_message(json.dumps(["set_size", frame["rows"], frame["cols"]]))

class Version(tornado.web.RequestHandler):
    def get(self):
        self.finish({"version": "2.14.0"})

class Kernels(tornado.web.RequestHandler):
    def get(self):
        self.set_header("content-type", "application/json")
        self.finish("[]")

manager = SingleTermManager(shell_command=["bash", "--norc"])
routes = [("/api", Version), ("/api/kernels", Kernels)]
if sys.argv[2] == "tty":
    routes.append(("/colab/tty", Tty, {"term_manager": manager}))
tornado.web.Application(routes).listen(int(sys.argv[1]), "127.0.0.1")
tornado.ioloop.IOLoop.current().start()
"""


@contextlib.contextmanager
def start_tty_server(*, tty: bool = True) -> Iterator[str]:
    """Start it, give its address, and end it afterwards with its shell."""
    port = free_port()
    process = subprocess.Popen([sys.executable, "-c", _PROGRAM, str(port), "tty" if tty else ""])
    url = f"http://127.0.0.1:{port}/"
    try:
        wait_for_api(process, url)
        yield url
    finally:
        end(process)
