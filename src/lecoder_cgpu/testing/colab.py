"""A Google for one machine: `FakeColab` in a test, or `python -m lecoder_cgpu.testing.colab` for a rehearsal.

Each of Google's hosts is a port of 127.0.0.1, so that a request to the wrong one does not pass unnoticed; each VM has a
port of its own. Behind a VM's port is a real jupyter_server. docs/fake-colab.md tells how to use it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, TypeVar

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application

from .. import config
from . import control, drive, nursery, oauth, private, public, tunnel
from .drive_store import NOTEBOOK, File
from .faults import Fault, Request
from .state import SCOPES, Account, Switches, write_json
from .vms import VM
from .web import Unknown
from .world import CLIENT, World

__all__ = ["CLIENT", "FakeColab"]

T = TypeVar("T")
TICK = 0.25  # seconds between two looks at the clock
HOSTS: dict[str, tuple[str, list[Any]]] = {
    "accounts": ("LECODER_CGPU_ACCOUNTS_DOMAIN", oauth.ACCOUNTS),
    "oauth": ("LECODER_CGPU_OAUTH_DOMAIN", oauth.OAUTH),
    "apis": ("LECODER_CGPU_GOOGLE_APIS_DOMAIN", [*oauth.APIS, *drive.ROUTES]),
    "tunnel": ("LECODER_CGPU_COLAB_API_DOMAIN", tunnel.ROUTES),
    "pa": ("LECODER_CGPU_COLAB_GAPI_DOMAIN", private.ROUTES),
    "public": ("LECODER_CGPU_COLAB_PUBLIC_API_DOMAIN", public.ROUTES),
}

PYTHON_VARIABLE = "LECODER_CGPU_TEST_COLAB_PYTHON"
CLOSING_ROUNDS = 5  # of the event loop, enough to close everything


class FakeColab:
    """The fake, running in a thread of this process from `with` to its end.

    `switches` and the accounts' fields may be changed at any time. Leaving the block ends everything, and raises when
    a fault that was to happen a number of times did not.

    Args:
        folder: for the VMs' files; a temporary one when None.
        port: that of the first host, the others follow; 0 takes any.
        python: the interpreter of the VMs, with jupyter_server and ipykernel; Colab's versions of them make it a true
            image (docs/fake-colab.md). When None, that of the environment variable `PYTHON_VARIABLE`, or ours.
    """

    def __init__(self, folder: Path | None = None, port: int = 0, python: str | None = None) -> None:
        self._temporary = folder is None
        self.folder = folder or Path(tempfile.mkdtemp(prefix="fake-colab-"))
        self._port = port
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="fake-colab", daemon=True)
        self._servers: list[HTTPServer] = []
        self.world = World(self.folder, python or image_python())
        self.account = self.add_account("ada@example.com")

    # --- what a test reads ---

    @property
    def urls(self) -> dict[str, str]:
        """The hosts' origins, by role."""
        return self.world.urls

    @property
    def switches(self) -> Switches:
        return self.world.switches

    @property
    def requests(self) -> list[Request]:
        """Every request so far, the oldest first. Clear it to start counting again."""
        return self.world.requests

    @property
    def vms(self) -> dict[str, VM]:
        """The living VMs of all accounts, by endpoint."""
        return self.world.vms

    @property
    def vm(self) -> VM:
        """The one living VM."""
        (found,) = self.world.vms.values()
        return found

    def drive_file(self, name: str, content: bytes, mime: str = NOTEBOOK, client: str | None = None) -> File:
        """A file in the account's Drive, made by the web page or by the OAuth client `client`."""
        return self.call(self.world.drive.add, self.account, name, content, mime, client)

    @property
    def drive_files(self) -> list[File]:
        """All accounts' files in Drive."""
        return list(self.world.drive.files.values())

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables that point lecoder-cgpu here."""
        return {HOSTS[role][0]: url for role, url in self.urls.items()}

    def count(self, line: str, role: str | None = None) -> int:
        """How many requests `METHOD PATH` got; the path may have wildcards."""
        probe = Fault(f"{role}:{line}" if role else line, times=None)
        return sum(probe.matches(request) for request in list(self.requests))

    # --- what a test does ---

    def add_account(self, email: str, **fields: Any) -> Account:
        """Another account, which the consent page chooses by `login_hint`."""
        account = Account(email, **fields)
        self.world.accounts[email] = account
        return account

    def login(self, scopes: tuple[str, ...] = SCOPES, account: Account | None = None) -> str:
        """A refresh token for the client `CLIENT`, as after a login."""
        return self.world.login(account or self.account, scopes)

    def configure(
        self,
        folder: Path,
        scopes: tuple[str, ...] = SCOPES,
        account: Account | None = None,
        *,
        login: bool = True,
        client: bool = True,
    ) -> None:
        """Write `config.json` and, unless told otherwise, `state/session.json` for somebody who works with this fake.

        Args:
            folder: the configuration folder, `LECODER_CGPU_CONFIG_DIR`.
            client: whether `config.json` has an OAuth client.
        """
        write_json(folder / "config.json", self.world.config(client=client))
        if login:
            session = self.call(self.world.session, account or self.account, scopes)
            write_json(folder / "state" / "session.json", session)

    def fail(self, route: str, *, times: int | None = 1, **what: Any) -> Fault:
        """Add a fault for the next `times` requests to `route`, or, with None, for all of them until `mend`.

        `route` is `METHOD PATH` or a path, with wildcards, `ROLE:` in front when it matters; paths on a VM are those
        behind the proxy's base. `what` are the fields of `faults.Fault`.
        """
        return self.world.faults.add(Fault(route, times, **what))

    def mend(self, fault: Fault | None = None) -> None:
        """Remove a fault, or all."""
        for found in [fault] if fault is not None else list(self.world.faults.queue):
            self.world.faults.remove(found)

    def advance(self, seconds: float) -> None:
        """Let time pass on Google's side, and do what becomes due."""
        self.call(self.world.advance, seconds)

    def start_vm(
        self, accelerator: str | None = None, *, account: Account | None = None, origin: str = "browser", nbh: str = ""
    ) -> VM:
        """Add a VM that another program started, without any checks."""
        return self.run(lambda: self.world.start_vm(accelerator, account or self.account, origin, nbh))

    def kill(self, vm: VM | None = None) -> None:
        """Take a VM away, or the only one."""
        self.call((vm or self.vm).kill)

    def expire_proxy_tokens(self, vm: VM | None = None) -> None:
        """Expire every token of a VM's proxy."""
        self.call((vm or self.vm).expire_tokens)

    def drop_sockets(self, vm: VM | None = None, *, silently: bool = False, lose_buffer: bool = False) -> int:
        """Cut a VM's open WebSockets; returns how many there were. See `VM.drop_sockets`."""
        return self.call(lambda: (vm or self.vm).drop_sockets(silently=silently, lose_buffer=lose_buffer))

    def move(self, vm: VM | None = None) -> None:
        """Give a VM's proxy another address."""
        self.run((vm or self.vm).move)

    def expire_access_tokens(self) -> None:
        """Make every access token invalid; refresh tokens stay."""
        self.call(self.world.tokens.expire)

    def revoke_logins(self) -> None:
        """Make every token invalid, as when the user withdraws the consent."""
        self.call(self.world.tokens.forget)

    def warm_up(self) -> None:
        """Prepare for VMs now: the first one of a process is slow, because it imports jupyter_server."""
        nursery.of(self.world.python).warm_up()

    def call(self, action: Callable[..., T], *arguments: Any) -> T:
        """Call a function in the fake's own thread, which owns its state."""

        async def work() -> T:
            return action(*arguments)

        return self.run(work)

    def run(self, action: Callable[[], Awaitable[T]]) -> T:
        """The same for a coroutine."""

        async def work() -> T:
            return await action()

        return asyncio.run_coroutine_threadsafe(work(), self._loop).result(60)

    # --- start and stop ---

    def start(self) -> FakeColab:
        self._thread.start()
        self.run(self._open)
        return self

    def stop(self) -> None:
        """End the VMs and everything else."""
        try:
            self.run(self._close)
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(10)
            if self._temporary:
                shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> FakeColab:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        left = self.world.faults.left()
        if left and error is None:
            raise AssertionError("faults that never happened: " + ", ".join(fault.route for fault in left))

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
        finally:
            self._loop.close()

    async def _open(self) -> None:
        for number, (role, (_, routes)) in enumerate(HOSTS.items()):
            sockets = bind_sockets(self._port + number if self._port else 0, "127.0.0.1")
            shared = {"world": self.world}
            server = HTTPServer(
                Application(
                    [(path, handler, shared) for path, handler in [*routes, *control.ROUTES]],
                    default_handler_class=type("Unknown", (Unknown,), {"role": role}),
                    default_handler_args=shared,
                    log_function=lambda handler: None,
                ),
                max_buffer_size=1 << 30,
                no_keep_alive=False,
            )
            server.add_sockets(sockets)
            self._servers.append(server)
            self.urls[role] = f"http://127.0.0.1:{sockets[0].getsockname()[1]}"
        self._ticking = asyncio.ensure_future(self._tick())

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK)
            self.world.reap()

    async def _close(self) -> None:
        self._ticking.cancel()
        await asyncio.gather(self._ticking, return_exceptions=True)
        for server in self._servers:
            server.stop()
        await self.world.close()
        for server in self._servers:
            await server.close_all_connections()
        # A connection that was accepted at the last moment makes tasks. Let them begin: asyncio does not close the
        # socket of a connection whose task is cancelled before that. Then end them, and let their transports close.
        for _ in range(CLOSING_ROUNDS):
            await asyncio.sleep(0)
        for _ in range(CLOSING_ROUNDS):
            rest = asyncio.all_tasks() - {asyncio.current_task()}
            for task in rest:
                task.cancel()
            await asyncio.gather(*rest, return_exceptions=True)
            await asyncio.sleep(0)


def image_python() -> str:
    """The interpreter of VMs that were not given one."""
    return config.environment(PYTHON_VARIABLE) or sys.executable


def main() -> None:
    """Run the fake until it is interrupted. The first line of stdout is JSON: the environment variables to set."""
    import argparse
    import signal

    def interrupt(*arguments: object) -> NoReturn:
        raise KeyboardInterrupt

    parser = argparse.ArgumentParser(prog="python -m lecoder_cgpu.testing.colab", description=main.__doc__)
    parser.add_argument("--port", type=int, default=0, help="port of the first host; the other five follow")
    parser.add_argument("--runtimes-root", type=Path, help="folder for the VMs' files (default: a temporary one)")
    parser.add_argument("--python", default=image_python(), help="interpreter of the VMs (default: this one)")
    parser.add_argument("--config-dir", type=Path, help="write config.json and a login into this folder")
    parser.add_argument(
        "--no-login",
        action="store_true",
        help="leave OAuth client and login out, to rehearse auth setup and auth login",
    )
    options = parser.parse_args()
    if options.config_dir and (options.config_dir / "config.json").exists():
        parser.error(f"{options.config_dir} holds a configuration already: choose an empty folder")
    if (problem := nursery.problem(options.python)) is not None:
        parser.error(problem)
    if other := nursery.unlike_colab(options.python):
        sys.stderr.write(f"The runtimes have {other}. --python takes an interpreter that is like Colab's.\n")
    signal.signal(signal.SIGTERM, interrupt)
    with (
        FakeColab(options.runtimes_root, options.port, options.python) as colab,
        contextlib.suppress(KeyboardInterrupt),
    ):
        environment = colab.environment
        if options.config_dir:
            colab.configure(options.config_dir, login=not options.no_login, client=not options.no_login)
            environment["LECODER_CGPU_CONFIG_DIR"] = str(options.config_dir.resolve())
        print(json.dumps(environment), flush=True)
        colab.warm_up()
        while True:
            time.sleep(3600)


if __name__ == "__main__":
    main()
