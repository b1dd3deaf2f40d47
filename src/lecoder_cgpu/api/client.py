"""`Client`: finds, makes and lists sessions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from .. import results
from ..backends.protocol import ServerRequest
from ..config import Config
from ..runs import closing, learning
from ..sessions import operations
from ..sessions import session as runtime
from ..sessions import status as overview
from ..sessions.manager import SessionManager
from . import suggestions as suggestions  # from here on, errors suggest methods
from .arguments import checked
from .limits import Never, limits, request
from .references import Reference
from .session import Session

if TYPE_CHECKING:
    from ..results import Accelerators, HistoryEntry, SessionDocument, SessionsClosed, Status, Usage

__all__ = ["Client"]


@checked
class Client:
    """Sessions under one configuration, the same ones that the command line uses.

    `with client:` closes connections at its end. Runtimes are kept: only `close`, `close_all` and `Session.release`
    give them back. In another process, a pickled client has the same settings and sessions.

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

    def __repr__(self) -> str:
        return f"Client(backend={self._client.chosen!r}, profile={self.profile!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connections. Runtimes are kept."""
        self._client.close()

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self)._refound, (Reference.of(self._client),)

    @classmethod
    def _refound(cls, reference: Reference) -> Self:
        return cls(reference.backend, profile=reference.profile, config_file=reference.config_file)

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
        wait_for_capacity: float | None = None,
        idle_release: float | Never | None = None,
        max_runtime: float | Never | None = None,
        max_units: float | Never | None = None,
        server_options: Mapping[str, Any] | None = None,
    ) -> Session:
        """The session of that name or id, else the active one, else a new one of the chosen backend, whose runtime the
        first call gets. Such a runtime may cost something, until `release`.

        Args:
            name: name or id of a stored session; excludes what chooses a runtime.
            gpu: ask for a GPU of that kind, or for the first of several (`"L4,T4"`) that is free.
            tpu: ask for a TPU, or for one of that kind. cpu: ask for a runtime without an accelerator.
            high_ram: ask for much memory. new: ask for another runtime, even if there is a session.
            kernel_name: the kernel that runs code, by the name of its kernelspec (`Session.kernels`); the session keeps
                it. None is the session's, else the server's default.
            wait_for_capacity: seconds to wait for a free machine; None does not wait.
            idle_release, max_runtime: seconds without work, and in all, after which the runtime is given back by
                itself; max_units: compute units after which that happens. `never` takes a limit away, None keeps it.
            server_options: on a JupyterHub, what a server is started with.

        Raises:
            errors.UsageError: the arguments contradict each other. errors.NotFoundError: there is no such session.
            errors.AuthError, errors.CapacityError, errors.QuotaError: no runtime was given.
        """
        wants = request(
            gpu=gpu,
            tpu=tpu,
            cpu=cpu,
            high_ram=high_ram,
            new=new,
            wait_for_capacity=wait_for_capacity,
            server_options=dict(server_options or {}),
            limits=limits(idle_release=idle_release, max_runtime=max_runtime, max_units=max_units),
        )
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
        wait_for_capacity: float | None = None,
        idle_release: float | Never | None = None,
        max_runtime: float | Never | None = None,
        max_units: float | Never | None = None,
    ) -> Session:
        """Make sure that there is a session of that name with its runtime, and make it the active one.

        A repeated call changes nothing; `fresh` of the session tells whether the runtime is a new one. On Colab, a GPU
        is asked for unless an argument says otherwise. See `session` for the arguments.

        Raises:
            errors.UsageError: the session of that name has another kind of runtime, or its runtime no such kernel.
            errors.AuthError, errors.CapacityError, errors.QuotaError: no runtime was given.
        """
        wants = request(
            gpu=gpu,
            tpu=tpu,
            cpu=cpu,
            high_ram=high_ram,
            kernel_name=kernel_name,
            wait_for_capacity=wait_for_capacity,
            limits=limits(idle_release=idle_release, max_runtime=max_runtime, max_units=max_units),
        )
        held, fresh = operations.ensure(self._now, name, wants)
        found = self._session(held, kernel_name)
        found.fresh = fresh
        return found

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
        return [results.of(session) for session in operations.list_sessions(self._now).documents]

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
        return results.of(closing.close_sessions(self._now, [self._client.store.find(name) for name in names]))

    def close_all(self) -> SessionsClosed:
        """Release the runtimes of all sessions and forget these. `held` of the result is what the accounts still hold,
        as their listings say it.

        Raises:
            errors.Error: the first failure. The other runtimes are released all the same.
        """
        return results.of(closing.close_sessions(self._now, self._client.store.records()))

    def usage(self) -> Usage:
        """What the account has left, and what it burns.

        Raises:
            errors.AuthError, errors.ConnectionFailed: the lender does not tell.
        """
        return results.of(overview.usage(self._now))

    def gpus(self) -> Accelerators:
        """Which accelerators the account may ask for. Whether one is free now, only asking tells.

        Raises:
            errors.AuthError, errors.ConnectionFailed: the lender does not tell.
        """
        return results.of(overview.accelerators(self._now))

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
        history = learning.history(self._now)
        moment = None if since is None else since.astimezone()  # one without a zone is of this place
        found = history.entries(limit, status=status, category=category, mode=mode, since=moment)
        return [results.of(entry) for entry in found]

    def find_run(self, run_id: str) -> HistoryEntry | None:
        """The run of the history with that id, or with a unique beginning of it.

        Raises:
            errors.ConfigError: the history cannot be read.
        """
        found = learning.history(self._now).find(run_id)
        return None if found is None else results.of(found)

    def status(self) -> Status:
        """The login, the runtimes with their GPUs and memory, and the sessions."""
        return results.of(learning.status(self._now))

    def _session(self, held: runtime.Session, kernel_name: str | None = None) -> Session:
        with held:
            return Session(self._client, held.record, kernel_name)
