"""Chooses the session that a command or a program uses, and knows the backends.

`operations` and `status` are what is done with the stored sessions; `session` is one of them in use.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypeVar

from msgspec import UNSET, structs

from .. import errors
from ..backends import protocol, registry
from ..backends.protocol import Leased, RuntimeRequest, ServerRequest
from ..config import Config
from ..store import leases, lifecycle
from ..store.leases import Limits
from ..store.session_store import Record, Store, check_name, insert
from .session import Notify, Session, Waiting
from .starts import free_name

if TYPE_CHECKING:
    from ..auth.tokens import Login

OWN_IDLE = 600.0  # seconds that a runtime for one command (`--rm`) is kept without work, should nobody release it

T = TypeVar("T")
R = TypeVar("R")


class SessionManager:
    """Sessions and runs, under one configuration.

    Args:
        config: the settings; those of the environment and `config.json` when omitted.
        notify: told, in a sentence, what the user should know (a new kernel was started, …).
        waiting: a context manager entered with a short text while something takes seconds.
        announce: told, in a sentence, what is about to be started and what it costs; None where nobody reads it.
        agree: asks a person a question that is answered with yes or no; where nobody is there, the answer is no.
    """

    def __init__(
        self,
        config: Config | None = None,
        *,
        notify: Notify | None = None,
        waiting: Waiting | None = None,
        announce: Notify | None = None,
        agree: Callable[[str], bool] = lambda question: False,
    ) -> None:
        self.config = config or Config()
        self._backends: dict[str, protocol.Backend] = {}
        self.notify: Notify = notify or (lambda text: None)
        self.waiting: Waiting = waiting or (lambda text: contextlib.nullcontext())
        self.announce = announce
        self.agree = agree

    @cached_property
    def state_dir(self) -> Path:
        return self.config.state_dir

    @cached_property
    def store(self) -> Store:
        return Store(self.state_dir)

    @cached_property
    def login(self) -> Login:
        """The login to Google."""
        from ..auth import tokens

        return tokens.login(self.config, self.state_dir)

    def backend(self, name: str) -> protocol.Backend:
        """The backend of that name; one for all sessions, so that what it has just learnt serves all.

        Raises:
            errors.UsageError: there is none. errors.ConfigError: it cannot be loaded.
        """
        if name not in self._backends:
            self._backends[name] = registry.load(name, self.config, self.state_dir)
        return self._backends[name]

    def look_anew(self) -> Self:
        """Believe nothing that lenders said before; for programs whose calls share a manager. Returns itself."""
        for backend in list(self._backends.values()):
            if isinstance(backend, Leased):
                backend.look_anew()
        return self

    def close(self) -> None:
        """Close the connections; the next use opens them again."""
        for backend in list(self._backends.values()):
            if isinstance(backend, Leased):
                backend.close()

    @property
    def chosen(self) -> str:
        """The name of the backend that new sessions come from."""
        return registry.chosen(self.config).value or registry.DEFAULT

    def leased(self, name: str) -> Leased | None:
        """The backend of that name if its runtimes are leased; None for others, and for one that cannot be loaded."""
        try:
            backend = self.backend(name)
        except (errors.UsageError, errors.ConfigError):
            return None
        return backend if isinstance(backend, Leased) else None

    def lender(self) -> Leased:
        """The leased backend whose account commands like `usage` are about: the chosen one, else the usual one. Raises
        errors.ConfigError if the settings cannot be read."""
        found = self.leased(self.chosen) or self.backend(registry.DEFAULT)
        assert isinstance(found, Leased), "the usual backend is leased"
        return found

    def hold(self, record: Record) -> Session:
        """The session of a record, ready for use."""
        session = Session(record, self.store, self.backend(record.backend), self.notify, self.waiting)
        session.agree = self.agree
        if isinstance(session.backend, Leased):
            session.keep = self.keep
            session.announce = self.announce
        return session

    def keep(self) -> None:
        """See to it that the keeper runs. The session to keep is stored already."""
        from . import keeper_process

        keeper_process.ensure(self.config, self.state_dir, self.notify)

    def keep_held(self, records: list[Record]) -> None:
        """The same if one of these sessions has, or may have, a runtime that costs."""
        if any(lifecycle.billing(item) != "none" and self.leased(item.backend) is not None for item in records):
            self.keep()

    def completed(self, wants: RuntimeRequest, notify: Notify | None = None) -> RuntimeRequest:
        """What is wanted, with what the profile asks for where that says nothing (`saved_requests`)."""
        if not self.config.profile.request:
            return wants
        from .saved_requests import completed

        return completed(wants, self.config.profile, self.backend(self.chosen), notify or self.notify)

    # --- choosing a session ---

    def session(self, key: str | None = None, wants: RuntimeRequest | None = None) -> Session:
        """The session to use: the one named, else the active one, else a new one of the chosen backend.

        Args:
            key: name, id or unique prefix of a stored session.
            wants: restrictions on the runtime.

        Raises:
            errors.UsageError: the options contradict each other. errors.NotFoundError: no such session.
            errors.ConfigError: the store is unreadable.
        """
        wants = wants or RuntimeRequest()
        if wants.cpu + (wants.tpu is not None) + bool(wants.gpu) > 1:
            raise errors.UsageError(
                "only one of --cpu, --tpu and --gpu can be had",
                name="ConflictingOptions",
                hint="leave out all but one of --cpu, --tpu and --gpu",
            )
        if key is not None:
            if wants.options:
                raise errors.UsageError(
                    f"--session names a runtime, so {wants.options[0]} cannot choose one",
                    name="ConflictingOptions",
                    hint=f"leave out --session or {wants.options[0]}",
                )
            record: Record | None = self._named(key)
            assert record is not None
            self.limit(record, wants.limits)
            named = self.hold(record)
            named.wish = wants.kernel_name
            named.terms = structs.replace(named.terms, patience=wants.patience or 0.0)
            return named
        said, wants = wants.limits, self.completed(wants)
        record = None if wants.new else self.pick(self.store.records(), wants)
        if record is None:
            record, before, untried = self._create(wants)
        else:
            before, untried = None, False
            self.limit(record, said if self.leased(record.backend) is None else wants.limits)
        self.report_damage()
        session = self.hold(record)
        session.untried = untried
        if before is not None:  # said only once the runtime is there: until then it may be refused
            session.begun = f"{record.name} is the active session now, and no longer {before.name}"
        session.wish = wants.kernel_name
        session.terms = structs.replace(session.terms, patience=wants.patience or 0.0, replace=True)
        return session

    def limit(self, record: Record, limits: Limits) -> None:
        """Change the limits of a session's lease that `limits` sets.

        Raises:
            errors.UsageError: the session has no lease, because its runtime costs nothing.
        """
        if not limits:
            return
        self._check_leased(record.backend)

        def change(stored: Record) -> None:
            stored.lease = leases.changed(leases.lease_of(stored), limits)

        record.lease = (self.store.change(record.id, change) or record).lease

    def existing(self, key: str | None = None, *, gone: bool = False) -> Session:
        """The session named, else the active one; never a new one. With `gone` it may have no runtime any more.

        Raises:
            errors.NotFoundError: there is none. errors.LostError: its runtime is gone.
        """
        record = self._named(key) if key is not None else self.pick(self.store.records(), RuntimeRequest())
        if record is None:
            raise errors.NotFoundError(
                "there is no active session",
                name="SessionNotFound",
                hint='a first run makes one: lecoder-cgpu run "ls"; one that runs already is taken over with: '
                "lecoder-cgpu sessions adopt ENDPOINT --name NAME (see lecoder-cgpu sessions list)",
            )
        session = self.hold(record)
        if not gone and session.known_gone() and lifecycle.stage(record) != "closing":  # the backend tells of that
            raise leases.gone(record)
        if not (gone or record.runtime.endpoint):
            raise errors.NotFoundError(
                f"session {record.name!r} has no runtime yet",
                name="NoRuntime",
                hint=f"lecoder-cgpu sessions ensure {record.name}",
            )
        return session

    def _named(self, key: str) -> Record:
        record = self.store.find(key)
        chosen = registry.chosen(self.config)
        if chosen.source == "option" and chosen.value != record.backend:
            raise errors.UsageError(
                f"session {record.name!r} is of backend {record.backend}, not {chosen.value}",
                name="ConflictingOptions",
                hint=f"leave out --backend {chosen.value}",
            )
        return record

    def pick(self, records: list[Record], wants: RuntimeRequest) -> Record | None:
        """The stored session that fits, None when none does. It is the active one if that fits, else the most recent
        one that does. If the user chose a backend, only that backend's sessions count.

        Raises:
            errors.UsageError: no session of the backend that the user chose can be that.
        """
        records = [item for item in records if not lifecycle.is_accepted(item) and item.owner is None]
        chosen = registry.chosen(self.config)
        if chosen.source != "default":
            backend = self.backend(self.chosen)
            records = [record for record in records if record.backend == chosen.value and backend.is_chosen(record)]
        if wants.options:
            if chosen.source != "default":
                self.check_kind(self.chosen, wants)
            records = [record for record in records if self.backend(record.backend).serves(record, wants)]
        active = next((record for record in records if record.is_active), None)
        if active is not None or (chosen.source == "default" and not wants.options):
            return active
        return records[0] if records else None

    def _create(self, wants: RuntimeRequest) -> tuple[Record, Record | None, bool]:
        """Store a new session, and return it with the one that was active before, and whether it is new. Looking and
        writing happen under one lock, so that many first commands make one."""
        name = self.chosen
        self.check_kind(name, wants)
        backend = self.backend(name)
        if wants.new and not backend.can_start_new():
            raise errors.UsageError(
                f"the {name} backend has one runtime only; --new-runtime cannot give another",
                hint="leave out --new-runtime; for a fresh kernel: lecoder-cgpu kernel restart",
            )
        with self.store.transaction() as records:
            existing = None if wants.new else self.pick(records, wants)
            if existing is not None:
                return existing, None, False
            record = backend.create(free_name(name, records), wants)
            before = next((item for item in records if item.is_active), None)
            insert(records, record)
        return record, before, True

    def own(self, wants: RuntimeRequest) -> Session:
        """A new session that this command alone uses, and gives back at its end. It does not become the active one.

        Its record names this process, so that the keeper gives the runtime back when the process is gone. Without a
        limit in `wants`, its lease allows it to be idle for `OWN_IDLE` seconds.

        Raises:
            errors.UsageError: the chosen backend cannot start such a runtime.
        """
        from ..store import owners

        name = self.chosen
        wants = self.completed(wants)
        self.check_kind(name, wants)
        backend = self.backend(name)
        if not backend.can_start_new():
            raise errors.UsageError(
                f"the {name} backend has no runtime that is ours to give back", hint="leave out --rm"
            )
        with self.store.transaction() as records:
            record = backend.create(free_name(f"{name}-rm", records), wants)
            record.owner = owners.this_process()
            if isinstance(backend, Leased) and wants.limits.idle is UNSET:
                record.lease = leases.changed(leases.lease_of(record), Limits(idle=OWN_IDLE))
            records.append(record)
        session = self.hold(record)
        session.wish = wants.kernel_name
        session.terms = structs.replace(session.terms, patience=wants.patience or 0.0, replace=True)
        return session

    def check_kind(self, backend: str, wants: RuntimeRequest) -> None:
        """Refuse a kind of runtime that the backend does not have.

        Raises:
            errors.UsageError
        """
        if not self.backend(backend).lends_accelerators and (wants.tpu is not None or wants.gpu or wants.high_ram):
            raise errors.UsageError(
                f"the {backend} backend lends its machine as it is; it cannot provide {wants.options[0]}",
                hint=f"leave out {wants.options[0]}, or add --backend {registry.DEFAULT}",
            )
        if wants.server_options and not self.backend(backend).takes_server_options:
            raise errors.UsageError(
                f"the {backend} backend starts no servers with options",
                hint="leave out --server-profile and --server-option, or add --hub URL",
            )
        if wants.limits:
            self._check_leased(backend)

    def _check_leased(self, backend: str) -> None:
        if not isinstance(self.backend(backend), Leased):
            raise errors.UsageError(
                f"a session of the {backend} backend has no lease: its runtime is not ours to give back by itself",
                name="NoLease",
                hint="leave out --idle-release, --max-runtime and --max-units; lecoder-cgpu sessions close ends it",
            )

    def report_damage(self) -> None:
        if self.store.damaged:
            self.notify(f"{self.store.path}: {len(self.store.damaged)} record(s) cannot be read; they were left alone")

    # --- what commands do with sessions ---

    def add_server(
        self,
        name: str,
        server: ServerRequest,
        *,
        backend: str = registry.SERVERS,
        replace: bool = False,
        kernel_name: str | None = None,
        kernel_id: str | None = None,
    ) -> Session:
        """Store a Jupyter server as a session, after checking that it answers, accepts the token and takes WebSockets.
        One that does not tell which kernels run is a gateway, and becomes a session of that backend.

        Args:
            kernel_id: a kernel that runs there already and is the session's from now on; closing does not end it.

        Raises:
            errors.UsageError: name or address are malformed, or the server has no such kernel.
            errors.AuthError: the token was refused. errors.ConnectionFailed: the server does not answer.
        """
        check_name(name)
        session = self.hold(self.backend(backend).attach(name, server))
        session.terms = structs.replace(session.terms, patience=server.patience)
        starts = session.backend.find(session.record) is None
        if starts:
            self._start_added(session, replace=replace)
        session.server.version()
        if not session.server.check_access() and session.endpoint.lists:
            session.close()
            session = self.hold(self.backend(registry.GATEWAYS).attach(name, server))
            self.notify(f"{session.record.runtime.endpoint} does not list its kernels; it is used as a gateway")
        session.server.check_websockets()
        if kernel_id is not None:
            session.take_kernel(kernel_id)
        if kernel_name is not None:
            session.use_kernel(kernel_name, keep=True)
        if not starts:
            self.store.add(session.record, replace=replace)
        return session

    def _start_added(self, session: Session, *, replace: bool) -> None:
        """Start the runtime of a new session. It is stored before, and stays if the start goes on without us."""
        self.store.add(session.record, replace=replace)
        try:
            session.endpoint  # noqa: B018 - starts it
        except errors.TimeLimit:
            raise
        except BaseException:
            self.store.remove(session.record.id)
            raise

    def add_local(self, name: str, root: str | None, *, kernel_name: str | None = None) -> Session:
        """Store a local runtime as a session and start it.

        Raises:
            errors.UsageError: name or folder are malformed, or it has no such kernel.
            errors.CapacityError: it did not start.
        """
        record = self.backend(registry.FOLDERS).create(name, RuntimeRequest())
        if root is not None:
            record.root = str(Path(root).expanduser().resolve())
        self.store.add(record)
        session = self.hold(record)
        try:
            session.endpoint  # noqa: B018 - starts it
            if kernel_name is not None:
                session.use_kernel(kernel_name, keep=True)
        except errors.UsageError:
            session.backend.release(record)
            self.store.remove(record.id)
            raise
        except BaseException:
            self.store.remove(record.id)
            raise
        return session

    def hold_or_none(self, record: Record) -> Session | None:
        """Like `hold`, None for a record whose backend this version does not have."""
        try:
            return self.hold(record)
        except errors.UsageError:
            return None

    def each(self, action: Callable[[T], R], items: list[T]) -> list[R]:
        """Do `action` for all items at once, so that the waits for servers that do not answer do not add up."""
        if len(items) < 2:
            return [action(item) for item in items]
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(max_workers=8) as pool:
            return list(pool.map(action, items))
