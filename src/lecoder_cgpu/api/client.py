"""`Client`: finds, makes and lists sessions."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from ..backends.protocol import RuntimeRequest, ServerRequest
from ..config import Config
from ..models.sessions import SessionAdded
from ..runs import closing, learning
from ..sessions import operations
from ..sessions import session as runtime
from ..sessions import status as overview
from ..sessions.manager import SessionManager
from .session import Session

if TYPE_CHECKING:
    from ..models.history import HistoryEntry
    from ..models.sessions import SessionDocument, SessionsClosed
    from ..models.status import Accelerators, Status, Usage


class Client:
    """Sessions under one configuration, the same ones that the command line uses.

    Args:
        backend: `colab`, `jupyter`, `local` or another that is installed. None is the one of the environment or
            `config.json`.
        profile: the profile to act for, with its login, sessions, history and defaults (`lecoder-cgpu profile`). None
            is the one of the environment, else the one that `profile use` has chosen.
        config_file: another `config.json`.
        notify: called with a sentence that the user should read (a new kernel was started, …).

    Raises:
        errors.UsageError: there is no such profile. errors.ConfigError: `profiles.json` cannot be used.
    """

    def __init__(
        self,
        backend: str | None = None,
        *,
        profile: str | None = None,
        config_file: str | Path | None = None,
        notify: Callable[[str], None] | None = None,
    ) -> None:
        config = Config(
            options={} if backend is None else {"backend": backend},
            config_file=None if config_file is None else Path(config_file).expanduser(),
            profile_name=profile,
        )
        self._profile = config.profile
        self._client = SessionManager(config, notify=notify)

    @property
    def profile(self) -> str:
        """The name of the profile that it acts for, to its end."""
        return self._profile.name

    @property
    def _now(self) -> SessionManager:
        """For one call, which believes nothing that a lender said in an earlier one."""
        return self._client.look_anew()

    def session(
        self,
        name: str | None = None,
        *,
        gpu: str | None = None,
        tpu: bool | str = False,
        cpu: bool = False,
        high_ram: bool = False,
        new: bool = False,
        kernel_name: str | None = None,
    ) -> Session:
        """The session of that name or id, else the active one, else a new one of the chosen backend.

        Args:
            name: name or id of a stored session; excludes the other arguments but `kernel_name`.
            gpu: ask for a GPU of that kind, or for the first of several (`"L4,T4"`) that is free.
            tpu: ask for a TPU, or for one of that kind. cpu: ask for a runtime without an accelerator.
            high_ram: ask for much memory. new: ask for another runtime, even if there is a session.
            kernel_name: the kernel that runs code, by the name of its kernelspec (`Session.kernels`); the session keeps
                it. None is the session's, else the server's default.

        Raises:
            errors.UsageError: the arguments contradict each other. errors.NotFoundError: there is no such session.
            errors.AuthError, errors.CapacityError, errors.QuotaError: no runtime was given.
        """
        wants = _wants(gpu=gpu, tpu=tpu, cpu=cpu, high_ram=high_ram, new=new)
        return self._session(self._now.session(name, wants), kernel_name)

    def ensure(
        self,
        name: str,
        *,
        gpu: str | None = None,
        tpu: bool | str = False,
        cpu: bool = False,
        high_ram: bool = False,
        kernel_name: str | None = None,
    ) -> SessionAdded:
        """Make sure that there is a session of that name with its runtime, and make it the active one.

        A repeated call changes nothing. On Colab, a GPU is asked for unless an argument says otherwise.

        Raises:
            errors.UsageError: the session of that name has another kind of runtime, or its runtime no such kernel.
            errors.AuthError, errors.CapacityError, errors.QuotaError: no runtime was given.
        """
        wants = _wants(gpu=gpu, tpu=tpu, cpu=cpu, high_ram=high_ram, kernel_name=kernel_name)
        held, fresh = operations.ensure(self._now, name, wants)
        with held:
            return SessionAdded(session=operations.inspect(self._client, held.record), fresh=fresh)

    def add_server(
        self, name: str, url: str, token: str | None = None, *, replace: bool = False, kernel_name: str | None = None
    ) -> Session:
        """Store a Jupyter server as a session, after a request that shows that it answers and accepts the token.

        Raises:
            errors.UsageError: name or address are invalid, or the server has no such kernel.
            errors.AuthError, errors.ConnectionFailed: the request failed.
        """
        server = ServerRequest(url=url, token=token)
        return self._session(self._now.add_server(name, server, replace=replace, kernel_name=kernel_name))

    def add_local(self, name: str, root: str | Path | None = None, *, kernel_name: str | None = None) -> Session:
        """Store another local runtime as a session and start it, with `root` as its working folder.

        Raises:
            errors.UsageError: name, folder or kernel are invalid. errors.CapacityError: it did not start.
        """
        return self._session(self._now.add_local(name, None if root is None else str(root), kernel_name=kernel_name))

    def sessions(self) -> list[SessionDocument]:
        """Every stored session and the present state of its runtime, most recently used first."""
        return operations.list_sessions(self._now).documents

    def adopt(self, endpoint: str, name: str) -> Session:
        """Take over a runtime that the account holds and no session here knows, and make it the active session.

        Raises:
            errors.NotFoundError: the account holds no such runtime. errors.UsageError: it has a session, or a bad name.
        """
        return self._session(operations.adopt(self._now, endpoint, name))

    def close(self, *names: str) -> SessionsClosed:
        """Release the runtimes of these sessions (names or ids) and forget them; see `close_all`.

        Raises:
            errors.NotFoundError: there is no such session. errors.Error: see `close_all`.
        """
        return closing.close_sessions(self._now, [self._client.store.find(name) for name in names])

    def close_all(self) -> SessionsClosed:
        """Release the runtimes of all sessions and forget these. `held` of the result is what the accounts still hold,
        as their listings say it.

        Raises:
            errors.Error: the first failure. The other runtimes are released all the same.
        """
        return closing.close_sessions(self._now, self._client.store.records())

    def usage(self) -> Usage:
        """What the account has left, and what it burns.

        Raises:
            errors.AuthError, errors.ConnectionFailed: the lender does not tell.
        """
        return overview.usage(self._now)

    def gpus(self) -> Accelerators:
        """Which accelerators the account may ask for. Whether one is free now, only asking tells.

        Raises:
            errors.AuthError, errors.ConnectionFailed: the lender does not tell.
        """
        return overview.accelerators(self._now)

    def history(
        self,
        limit: int | None = 50,
        *,
        status: str | None = None,
        category: str | None = None,
        mode: str | None = None,
        since: datetime | None = None,
    ) -> list[HistoryEntry]:
        """What was run, newest first: the runs of this machine, by whatever way.

        Args:
            limit: the most entries; None for all. The others are filters, see `lecoder-cgpu logs`.

        Raises:
            errors.UsageError: a filter's value does not exist. errors.ConfigError: the history cannot be read.
        """
        return learning.history(self._now).entries(limit, status=status, category=category, mode=mode, since=since)

    def find_run(self, run_id: str) -> HistoryEntry | None:
        """The run of the history with that id, or with a unique beginning of it.

        Raises:
            errors.ConfigError: the history cannot be read.
        """
        return learning.history(self._now).find(run_id)

    def status(self) -> Status:
        """The login, the runtimes with their GPUs and memory, and the sessions."""
        return learning.status(self._now)

    def _session(self, held: runtime.Session, kernel_name: str | None = None) -> Session:
        with held:
            return Session(self._client, held.record, kernel_name)


def _wants(
    *,
    gpu: str | None,
    tpu: bool | str = False,
    cpu: bool = False,
    high_ram: bool = False,
    new: bool = False,
    kernel_name: str | None = None,
) -> RuntimeRequest:
    return RuntimeRequest(
        cpu=cpu,
        gpu=() if gpu is None else tuple(gpu.split(",")),
        tpu=None if tpu is False else () if tpu is True else tuple(tpu.split(",")),
        high_ram=high_ram,
        new=new,
        kernel_name=kernel_name,
    )
