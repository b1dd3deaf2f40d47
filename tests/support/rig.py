"""The library in this process, with a session that reaches a real server through the fault proxy."""

from __future__ import annotations

import contextlib
import faulthandler
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest

from lecoder_cgpu.backends.protocol import ServerRequest
from lecoder_cgpu.config import Config
from lecoder_cgpu.jupyter import execution_watch, messages
from lecoder_cgpu.models.runs import Run
from lecoder_cgpu.net import http, websocket
from lecoder_cgpu.runs.kernel_runs import kernel_run
from lecoder_cgpu.runs.process_runs import process_run
from lecoder_cgpu.sessions.manager import SessionManager
from lecoder_cgpu.sessions.session import Session
from tests.support.proxy import Proxy
from tests.support.servers import JupyterServer

HANG = 100.0  # seconds for work of one or two, with reconnections, on a machine that does other things, too

T = TypeVar("T")


@dataclass
class Rig:
    """A warm session behind a proxy."""

    proxy: Proxy
    client: SessionManager
    name: str

    @contextlib.contextmanager
    def session(self) -> Iterator[Session]:
        """The session as a new invocation would hold it."""
        with self.client.session(self.name) as session:
            yield session

    def kernel_run(self, code: str, on_event: Callable[[messages.Event], None], **options: Any) -> Run:
        """A kernel run of its own, as `kernel_runs.kernel_run` has it."""
        with self.session() as session:
            return kernel_run(session, code, on_event, **options)

    def process_run(self, command: str, on_output: Callable[[str, bytes], None], **options: Any) -> Run:
        """A process run of its own, as `process_runs.process_run` has it."""
        with self.session() as session:
            return process_run(session, command, on_output, **options)


@contextlib.contextmanager
def rig(jupyter: JupyterServer, folder: Path, name: str) -> Iterator[Rig]:
    """A session of its own in a state folder of its own, with kernel and helper started."""
    proxy = Proxy(jupyter.url)
    client = SessionManager(Config({"storageDir": str(folder)}))
    client.add_server(name, ServerRequest(url=proxy.url, token=jupyter.token)).close()
    made = Rig(proxy, client, name)
    assert made.kernel_run("1", lambda event: None).status == "ok"
    assert made.process_run("true", lambda stream, data: None).status == "ok"
    try:
        yield made
    finally:
        proxy.expect([])
        with made.session() as session:
            session.close_kernels()
        proxy.close()


@contextlib.contextmanager
def impatient() -> Iterator[None]:
    """Silent connections are noticed within seconds, so that tests need not wait for what people can wait for."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(websocket, "PING_INTERVAL", 0.5)
        patch.setattr(websocket, "PING_TIMEOUT", 1.0)
        for module in (http, websocket):
            patch.setattr(module, "CONNECT_TIMEOUT", 3.0)
        patch.setattr(execution_watch, "PROBE_AFTER", 0.5)
        patch.setattr(execution_watch, "SETTLE_GRACE", 1.0)
        yield


def within(seconds: float, work: Callable[[], T]) -> T:
    """What `work` returns or raises; fails, and shows where it stands, when that takes too long."""
    done: list[T] = []
    failed: list[BaseException] = []

    def body() -> None:
        try:
            done.append(work())
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=body, daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        faulthandler.dump_traceback(sys.stderr.fileno())
        pytest.fail(f"this hangs for {seconds:g} s now")
    if failed:
        raise failed[0]
    return done[0]
