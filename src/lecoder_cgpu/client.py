"""The library's front door: chooses the session, and offers everything that commands do with the stored ones."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import UNSET, Struct

from . import backends, errors, models
from .config import Config
from .runtime import Notify, Session, Waiting
from .sessions import Record, Store, check_name, insert

if TYPE_CHECKING:
    from .auth import Login


class Wants(Struct, frozen=True, kw_only=True):
    """What kind of runtime a command asked for. All false: whatever session is in use."""

    cpu: bool = False
    tpu: bool = False
    gpu: str | None = None
    new: bool = False

    @property
    def options(self) -> list[str]:
        """The options as the user wrote them."""
        written = {"--cpu": self.cpu, "--tpu": self.tpu, f"--gpu {self.gpu}": self.gpu, "--new-runtime": self.new}
        return [option for option, given in written.items() if given]


class Client:
    """Sessions and runs, under one configuration.

    Args:
        config: the settings; those of the environment and `config.json` when omitted.
        notify: told, in a sentence, what the user should know (a new kernel was started, …).
        waiting: a context manager entered with a short text while something takes seconds.
    """

    def __init__(
        self, config: Config | None = None, *, notify: Notify | None = None, waiting: Waiting | None = None
    ) -> None:
        self.config = config or Config()
        self.notify: Notify = notify or (lambda text: None)
        self.waiting: Waiting = waiting or (lambda text: contextlib.nullcontext())

    @cached_property
    def state_dir(self) -> Path:
        return self.config.state_dir

    @cached_property
    def store(self) -> Store:
        return Store(self.state_dir)

    @cached_property
    def login(self) -> Login:
        """The login to Google."""
        from .auth import Login

        return Login(self.config, self.state_dir)

    def backend(self, name: str) -> backends.Backend:
        return backends.load(name, self.config, self.state_dir)

    def hold(self, record: Record) -> Session:
        """The session of a record, ready for use."""
        return Session(record, self.store, self.backend(record.backend), self.notify, self.waiting)

    # --- choosing a session ---

    def session(self, key: str | None = None, wants: Wants | None = None) -> Session:
        """The session to use: the one named, else the active one, else a new one of the chosen backend.

        Args:
            key: name, id or unique prefix of a stored session.
            wants: restrictions on the runtime.

        Raises:
            errors.UsageError: the options contradict each other. errors.NotFoundError: no such session.
            errors.ConfigError: the store is unreadable.
        """
        wants = wants or Wants()
        if wants.cpu + wants.tpu + (wants.gpu is not None) > 1:
            raise errors.UsageError(
                "only one of --cpu, --tpu and --gpu can be had", name="ConflictingOptions", hint="leave out the others"
            )
        if key is not None:
            if wants.options:
                raise errors.UsageError(
                    f"--session names a runtime, so {wants.options[0]} cannot choose one",
                    name="ConflictingOptions",
                    hint="leave out one of the two",
                )
            return self.hold(self._named(key))
        record = None if wants.new else self._pick(self.store.records())
        if record is None:
            record = self._create(wants)
        elif wants.options:
            self._check_kind(record.backend, wants)
        self._report_damage()
        return self.hold(record)

    def existing(self, key: str | None = None) -> Session:
        """The session named, else the active one; never a new one.

        Raises:
            errors.NotFoundError: there is none. errors.LostError: its runtime is gone.
        """
        record = self._named(key) if key is not None else self._pick(self.store.records())
        if record is None:
            raise errors.NotFoundError(
                "there is no session in use", name="SessionNotFound", hint="lecoder-cgpu sessions list"
            )
        session = self.hold(record)
        if session.is_lost():
            raise errors.LostError(
                f"the runtime of session {record.name!r} is gone, and its jobs with it",
                name="RuntimeLost",
                hint="lecoder-cgpu sessions clean",
            )
        return session

    def _named(self, key: str) -> Record:
        record = self.store.find(key)
        chosen = self.config.backend
        if chosen.source == "option" and chosen.value != record.backend:
            raise errors.UsageError(
                f"session {record.name!r} is of backend {record.backend}, not {chosen.value}",
                name="ConflictingOptions",
                hint="leave out --backend",
            )
        return record

    def _pick(self, records: list[Record]) -> Record | None:
        """The active session, or with a backend chosen by the user the most recent session of that backend."""
        chosen = self.config.backend
        if chosen.source != "default":
            records = [record for record in records if record.backend == chosen.value]
            url = self.config.get("jupyterUrl")
            if chosen.value == "jupyter" and url.value and url.source in ("environment", "option"):
                from .backends.jupyter import normalise

                address = normalise(url.value)[0]
                records = [record for record in records if record.runtime.endpoint == address]
        active = next((record for record in records if record.is_active), None)
        if active is not None or chosen.source == "default":
            return active
        return records[0] if records else None

    def _create(self, wants: Wants) -> Record:
        """Store a new session. Looking and writing happen under one lock, so that many first commands make one."""
        name = self.config.backend.value or "colab"
        self._check_kind(name, wants)
        backend = self.backend(name)
        if wants.new and not backend.renewable():
            raise errors.UsageError(
                f"the {name} backend has one runtime only; --new-runtime cannot give another",
                hint="lecoder-cgpu sessions restart gives a fresh kernel",
            )
        with self.store.transaction() as records:
            existing = None if wants.new else self._pick(records)
            if existing is not None:
                return existing
            record = backend.create(_free_name(name, records))
            insert(records, record)
            return record

    @staticmethod
    def _check_kind(backend: str, wants: Wants) -> None:
        if backend != "colab" and (wants.tpu or wants.gpu):
            raise errors.UsageError(
                f"the {backend} backend lends its machine as it is; it cannot provide {wants.options[0]}",
                hint="leave the option out, or use --backend colab",
            )

    def _report_damage(self) -> None:
        if self.store.damaged:
            self.notify(f"{self.store.path}: {len(self.store.damaged)} record(s) cannot be read; they were left alone")

    # --- what commands do with sessions ---

    def add_server(self, name: str, url: str, token: str | None, *, replace: bool = False) -> Session:
        """Store a Jupyter server as a session, after proving that it answers and takes the token.

        Raises:
            errors.UsageError: name or address are no good. errors.AuthError, errors.ConnectionFailed: the proof failed.
        """
        from .backends import jupyter

        check_name(name)
        session = self.hold(jupyter.Backend.record(name, url, token))
        session.server.version()
        session.server.kernels()  # asks for the token
        self.store.add(session.record, replace=replace)
        return session

    def add_local(self, name: str, root: str | None) -> Session:
        """Store a local runtime as a session and start it.

        Raises:
            errors.UsageError: name or folder are no good. errors.CapacityError: it did not start.
        """
        record = self.backend("local").create(name)
        if root is not None:
            record.root = str(Path(root).expanduser().resolve())
        self.store.add(record)
        session = self.hold(record)
        try:
            session.endpoint  # noqa: B018 - starts it
        except BaseException:
            self.store.remove(record.id)
            raise
        return session

    def inspect(self, record: Record) -> models.SessionDocument:
        """A stored session with what its runtime says now; starts nothing."""
        session = self.hold_or_none(record)
        status: Any = "unreachable"
        kernel: models.KernelInfo | Any = UNSET
        if session is not None:
            try:
                if session.is_lost():
                    status = "stale"
                else:
                    kernel = session.kernel_info(session.kernel())
                    if record.kernel is None:
                        session.server.kernels()
                    status = "active" if record.is_active else "idle"
            except errors.Error:
                status = "unreachable"
        runtime = models.RuntimeRef(
            label=record.runtime.label, accelerator=record.runtime.accelerator, endpoint=record.runtime.endpoint
        )
        if record.runtime.proxy is not None:
            runtime.url = record.runtime.proxy.url
        return models.SessionDocument(
            id=record.id,
            name=record.name,
            label=record.label,
            backend=record.backend,
            runtime=runtime,
            variant=record.variant,
            created_at=record.created_at,
            last_used_at=record.last_used_at,
            is_active=record.is_active,
            status=status,
            kernel=kernel,
        )

    def hold_or_none(self, record: Record) -> Session | None:
        """Like `hold`, None for a record whose backend this version does not have."""
        try:
            return self.hold(record)
        except errors.UsageError:
            return None

    def each(self, action: Callable[[Record], Any], records: list[Record]) -> list[Any]:
        """`action` on every record at once: servers that do not answer must not add up."""
        if len(records) < 2:
            return [action(record) for record in records]
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(max_workers=8) as pool:
            return list(pool.map(action, records))

    def status(self, key: str | None = None) -> models.Status:
        """What `status` shows: every session with its runtime, or only the one named."""
        from . import overview

        return overview.status(self, key)

    def list_sessions(self) -> list[models.SessionDocument]:
        """Every stored session, most recently used first."""
        documents: list[models.SessionDocument] = self.each(self.inspect, self.store.records())
        self._report_damage()
        return documents

    def close(self, record: Record) -> models.SessionClosed:
        """Release a session's runtime as far as it is ours, then forget the session.

        Raises:
            errors.Error: the runtime could not be told; the session is kept then.
        """
        released: Any = "nothing"
        kernels: list[str] = []
        with self.hold(record) as session:
            if record.backend == "jupyter":
                kernels = session.close_kernels()
                released = "kernels" if kernels else "nothing"
            elif session.backend.release(record):
                released = "server"
        self.store.remove(record.id)
        return models.SessionClosed(session_id=record.id, name=record.name, released=released, kernels=kernels)

    def clean(self, *, dry_run: bool = False) -> models.SessionsCleaned:
        """Forget the sessions whose runtime is certainly gone; those that merely do not answer are kept."""
        documents = self.list_sessions()
        stale = [item for item in documents if item.status == "stale"]
        kept = [item.id for item in documents if item.status == "unreachable"]
        if not dry_run:
            for item in stale:
                self.store.remove(item.id)
        return models.SessionsCleaned(removed=[item.id for item in stale], kept=kept, dry_run=dry_run)


def _free_name(base: str, records: list[Record]) -> str:
    taken = {record.name for record in records}
    name, number = base, 2
    while name in taken:
        name, number = f"{base}-{number}", number + 1
    return name
