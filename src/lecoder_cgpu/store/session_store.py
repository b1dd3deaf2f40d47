"""The stored sessions: `state/sessions.json`, and how a name or a prefix finds one of them.

A session is our name for a runtime. The file is the predecessor's JSON array with additions. A record that cannot be
decoded never hides the others, and is written back untouched. A file that is no JSON array is set aside, and told.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import UNSET, Struct, field

from .. import errors
from ..config import DEFAULT_BACKEND
from ..models.base import UNKNOWN_ACCOUNT, Optional, SessionRef, now
from ..system import atomic_files as state
from ..system import redaction
from .succession import make_another_active

State = Literal["asked", "booting", "ready", "lost", "closing"]
UNNAMED = DEFAULT_BACKEND  # of records that name no backend: the predecessor had no other
TOUCH_INTERVAL = 60.0  # seconds between two writes of `lastUsedAt`; a warm run writes nothing
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


class Proxy(Struct, kw_only=True):
    """How to reach the runtime. `token` is a secret; it is null when it comes from the environment instead. `headers`
    are those of a login with a password, and secret, too. `ca` is a file with certificate authorities."""

    url: str
    token: str | None = None
    token_expires_in_seconds: float | None = field(name="tokenExpiresInSeconds", default=None)
    headers: dict[str, str] = field(default_factory=dict)
    ca: str | None = None

    def __repr__(self) -> str:
        return f"Proxy(url={self.url!r})"


class Runtime(Struct, kw_only=True):
    label: str
    accelerator: str = "none"
    endpoint: str
    proxy: Proxy | None = None


class KernelRecord(Struct, kw_only=True):
    """A kernel of ours on the runtime. `ours` is false when it ran already before we first used it; `recorded` tells
    whether the helper keeps what it publishes, null when it could not be asked yet. `name` is that of its kernelspec,
    `language` what it runs, in small letters; null in records of version 0.6.0. `machine` is where it is, as it told.

    `binary` tells whether binary frames reach a helper, null when that was not tried; `shared`, that it lives in the
    session's own kernel.
    """

    id: str
    path: str
    ours: bool = True
    recorded: bool | None = None
    binary: bool | None = None
    shared: bool = False
    machine: str | None = None
    name: str | None = None
    language: str | None = None


class Allocation(Struct, kw_only=True):
    """What a session asked the lender of its runtime for, and how far it got.

    `key` is a UUID: asking under the same key again finds the same runtime. It is null for a runtime that was adopted.
    `sent`: the lender was asked.
    `state`: asked (written down before the lender is asked), booting, ready, lost (certainly gone), closing (it is to
    be ended). `unlisted` is since when (Unix time) the lender's listing lacks it, `told` whether the lender has
    accepted to end it. `lifecycle` decides what these mean together. `plane` is the lender's service that knows the
    runtime. `accelerators` are those that the user allows, the best first; an empty list means any of the variant;
    `typed` is how the user wrote them.
    `expires` is the Unix time at which the proxy token ends, by our clock. `address` is the runtime's name in
    keep-alive pings. `tier` is the account's plan, as the lender told it with the runtime. `lostAt` is when the runtime
    was found to be gone. `askedBy` is the process that asked for the runtime, and which gives it back if it is
    interrupted; `askedAt` is when (Unix time) it last sent the request, `askedTick` the same by the monotonic clock.
    `unwanted`: whoever asked does not want it any more; what comes of the request is given back.
    `account` is whose runtime it is, as far as that was known when the lender was last asked.
    """

    state: State = "asked"
    plane: str = "tunnel"
    key: str | None = None
    variant: Literal["DEFAULT", "GPU", "TPU"] = "GPU"
    accelerators: list[str] = field(default_factory=list)
    typed: list[str] = field(default_factory=list)
    high_memory: bool = field(name="highMemory", default=False)
    adopted: bool = False
    sent: bool = False
    unlisted: float | None = None
    told: bool = False
    expires: float | None = None
    address: str | None = None
    tier: str | None = None
    lost_at: str | None = field(name="lostAt", default=None)
    asked_by: Owner | None = field(name="askedBy", default=None)
    unwanted: bool = False
    asked_at: float | None = field(name="askedAt", default=None)
    asked_tick: float | None = field(name="askedTick", default=None)
    account: str | None = None


class Lease(Struct, kw_only=True):
    """For how long a session's runtime is held. Durations in seconds, None for no limit; moments as Unix times.

    `idle`: release after so long without work. `maxRuntime`: release so long after `began`, work or not. `maxUnits`:
    release when this many compute units were spent since `began`; `units` is what the keeper has counted. `lastWork`:
    when the keeper last saw work. `ended`: which of the limits ended the runtime, and `why` in words.
    """

    idle: float | None = 3600.0
    max_runtime: float | None = field(name="maxRuntime", default=None)
    max_units: float | None = field(name="maxUnits", default=None)
    began: float
    last_work: float | None = field(name="lastWork", default=None)
    units: float = 0.0
    ended: Literal["idle", "runtime", "units"] | None = None
    why: str | None = None


class Owner(Struct, kw_only=True):
    """A process, on the machine `host`: of the command that a runtime was started for (`--rm`), or that asks for one.
    When it is gone, the keeper there gives the runtime back."""

    pid: int
    identity: str
    host: str


class HubServer(Struct, kw_only=True):
    """Which server of a JupyterHub a session uses.

    `url` is the Hub's address, `name` the server's (empty: the user's default server), `options` what it is started
    with. `ours`: it was started for this session, so closing ends it. `ready`: it ran when it was last looked at.
    `keepAwake`: work that is silent is reported to the Hub, which ends servers that seem idle.
    """

    url: str
    user: str
    name: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    ours: bool = False
    ready: bool = False
    keep_awake: bool = field(name="keepAwake", default=True)


class Record(Struct, kw_only=True):
    """One session as it is stored. The predecessor's records have neither name nor backend: theirs is Colab."""

    id: str
    label: str
    runtime: Runtime
    variant: str = "DEFAULT"
    created_at: str = field(name="createdAt")
    last_used_at: str = field(name="lastUsedAt")
    is_active: bool = field(name="isActive", default=False)
    name: str = ""
    backend: str = UNNAMED
    root: str | None = None
    kernel: KernelRecord | None = None
    kernel_name: str | None = field(name="kernelName", default=None)  # chosen by the user; None is the server's default
    kernels: dict[str, KernelRecord] = field(default_factory=dict)  # further ones, by the names of their kernelspecs
    # Stored under the name that older versions know, so that both find a living helper.
    helper: KernelRecord | None = field(name="resident", default=None)
    # Stored under the name that older versions know.
    allocation: Allocation | None = field(name="colab", default=None)
    lease: Lease | None = None
    owner: Owner | None = None
    message_size: int | None = field(name="messageSize", default=None)  # bytes that pass; None: as far as known, all
    frame_form: Literal["agreed", "default", "v1"] | None = field(name="frameForm", default=None)  # None: to be tried
    kernel_env: dict[str, str] = field(name="kernelEnv", default_factory=dict)  # what a gateway starts kernels with
    hub: HubServer | None = None
    apart: bool = False  # kernels there have machines of their own: the helper lives in the session's
    machine_since: float | None = field(name="machineSince", default=None)  # Unix time; earlier work was on another
    consents: list[str] = field(default_factory=list)  # what of the account its runtime may be handed: drive, auth

    def __post_init__(self) -> None:
        self.name = self.name or self.id[:8]

    @property
    def ref(self) -> SessionRef:
        return SessionRef(id=self.id, name=self.name, backend=self.backend, account=self.account)

    @property
    def began(self) -> float:
        """Since when (Unix time) work of this session is where its work is now; 0.0 if that was always so."""
        return max(0.0 if self.lease is None else self.lease.began, self.machine_since or 0.0)

    @property
    def account(self) -> str | Optional:
        """Whose runtime it is, `unknown` where nobody has said; absent for a runtime that belongs to no account."""
        return UNSET if self.allocation is None else self.allocation.account or UNKNOWN_ACCOUNT


class Store:
    """The owner of `sessions.json` in the folder `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "sessions.json"
        self.damaged: list[msgspec.Raw] = []

    def records(self) -> list[Record]:
        """All sessions that can be read, most recently used first; `damaged` holds the others.

        Raises:
            errors.ConfigError: the file cannot be read, or is not a JSON array (it is set aside then).
        """
        content = state.read(self.path)
        if content is None:
            return []
        try:
            raw = msgspec.json.decode(content, type=list[msgspec.Raw])
        except state.DAMAGED as error:
            kept = state.set_aside(self.path)
            raise errors.ConfigError(
                f"{self.path} is not a JSON array of sessions: {error}; it was kept as {kept.name}",
                hint=f"look at {kept}; the next command starts with no sessions",
            ) from error
        self.damaged = []
        records = []
        for item in raw:
            try:
                record = state.decode(item, Record)
                records.append(record)
                if record.runtime.proxy is not None:
                    redaction.protect(record.runtime.proxy.token)
                    for value in record.runtime.proxy.headers.values():
                        redaction.protect(value)
            except state.Damaged:
                self.damaged.append(item.copy())
        return sorted(records, key=lambda record: record.last_used_at, reverse=True)

    @contextmanager
    def transaction(self) -> Iterator[list[Record]]:
        """The records, to be changed in place; written back at the end, with nobody else writing in between."""
        with state.lock(self.path):
            records = self.records()
            before = msgspec.json.encode(records)
            yield records
            if msgspec.json.encode(records) != before:
                everything = [*(msgspec.Raw(msgspec.json.encode(record)) for record in records), *self.damaged]
                state.write_atomic(self.path, msgspec.json.format(msgspec.json.encode(everything), indent=2))

    def find(self, key: str) -> Record:
        """The session with that id, name or endpoint, or whose id or name is the only one with that prefix.

        Raises:
            errors.NotFoundError: there is none. errors.UsageError: the prefix fits several.
        """
        records = self.records()
        for record in records:
            if key in (record.id, record.name) or (key and key.casefold() == record.runtime.endpoint.casefold()):
                return record
        matches = [record for record in records if key and (record.id.startswith(key) or record.name.startswith(key))]
        if len(matches) == 1:
            return matches[0]
        if matches:
            raise errors.UsageError(
                f"{key!r} is ambiguous: " + ", ".join(f"{record.name} ({record.id[:8]})" for record in matches),
                name="AmbiguousSession",
                hint=f"give the whole name, such as {matches[0].name}, or more of the id",
            )
        known = ", ".join(record.name for record in records) or "none"
        raise errors.NotFoundError(
            f"there is no session {key!r} (known: {known})", name="SessionNotFound", hint="lecoder-cgpu sessions list"
        )

    def get(self, session_id: str) -> Record | None:
        """The session of that id as it is stored now."""
        return next((record for record in self.records() if record.id == session_id), None)

    def active(self) -> Record | None:
        """The session that plain commands use."""
        return next((record for record in self.records() if record.is_active), None)

    def add(self, record: Record, *, replace: bool = False, sole: bool = False) -> None:
        """Store a new session and make it the active one.

        Raises:
            errors.UsageError: the name is taken (without `replace`) or malformed, or with `sole` the runtime is held.
        """
        check_name(record.name)
        with self.transaction() as records:
            if sole:
                check_unheld(records, record.runtime.endpoint)
            taken = next((item for item in records if item.name == record.name), None)
            if taken is not None:
                if not replace:
                    raise errors.UsageError(
                        f"there is a session {record.name!r} already",
                        name="SessionExists",
                        hint=f"choose another name, or first: lecoder-cgpu sessions close {record.name}; "
                        "for a Jupyter server, --force replaces it",
                    )
                records.remove(taken)
            insert(records, record)

    def change(self, session_id: str, change: Callable[[Record], None]) -> Record | None:
        """Apply `change` to one stored record; None when it is not there any more."""
        with self.transaction() as records:
            for record in records:
                if record.id == session_id:
                    change(record)
                    return record
        return None

    def activate(self, session_id: str) -> None:
        with self.transaction() as records:
            for record in records:
                record.is_active = record.id == session_id

    def retire(self, session_id: str) -> None:
        """Keep a session's record, and make another session the active one, if there is one to use."""
        with self.transaction() as records:
            for record in records:
                if record.id == session_id and record.is_active:
                    record.is_active = False
                    make_another_active([item for item in records if item is not record])

    def remove(self, session_id: str) -> None:
        """Forget a session; the most recently used one that may be used becomes active if this one was."""
        with self.transaction() as records:
            _take_out(records, session_id)

    def forget(self, known: Record) -> bool:
        """Forget a session whose runtime is gone; False if it asks for another one, or has one, by now.

        Args:
            known: the record as it was when the runtime was found to be gone.
        """
        with self.transaction() as records:
            stored = next((item for item in records if item.id == known.id), None)
            if stored is not None and _asked_for(stored) != _asked_for(known):
                return False
            _take_out(records, known.id)
        return True

    def rename(self, session_id: str, name: str) -> None:
        """Give a session another name.

        Raises:
            errors.UsageError: it is malformed, or taken.
        """
        check_name(name)
        with self.transaction() as records:
            if any(record.name == name and record.id != session_id for record in records):
                raise errors.UsageError(
                    f"there is a session {name!r} already",
                    name="SessionExists",
                    hint=f"choose another name, or give that one back first: lecoder-cgpu sessions close {name}",
                )
            for record in records:
                if record.id == session_id:
                    record.name = name

    def touch(self, record: Record) -> None:
        """Note that the session was used, at most once a minute."""
        try:
            used = datetime.fromisoformat(record.last_used_at)
            recent = (datetime.now(used.tzinfo) - used).total_seconds() < TOUCH_INTERVAL
        except ValueError:
            recent = False
        if not recent:
            moment = now()

            def change(stored: Record) -> None:
                stored.last_used_at = moment

            self.change(record.id, change)


def check_unheld(records: list[Record], endpoint: str) -> None:
    """Refuse a second session for a runtime.

    Raises:
        errors.UsageError: it has one.
    """
    held = next((item for item in records if item.runtime.endpoint.casefold() == endpoint.casefold()), None)
    if held is not None:
        raise errors.UsageError(
            f"session {held.name!r} holds that runtime already",
            name="SessionExists",
            hint=f"lecoder-cgpu sessions switch {held.name}",
        )


def insert(records: list[Record], record: Record) -> None:
    """Add a record to those of a transaction, as the active one."""
    for item in records:
        item.is_active = False
    record.is_active = True
    records.append(record)


def _take_out(records: list[Record], session_id: str) -> None:
    """Remove a record; another one becomes active if this one was."""
    for record in records:
        if record.id == session_id:
            records.remove(record)
            if record.is_active:
                make_another_active(records)
            return


def _asked_for(record: Record) -> tuple[object, ...]:
    """What tells a session's runtime from another one that the session has later."""
    allocation = record.allocation
    asked = None if allocation is None else (allocation.key, allocation.asked_at)
    return record.runtime.endpoint, asked


def check_name(name: str) -> None:
    """Refuse a name that could not be typed as an argument or used in a path.

    Raises:
        errors.UsageError
    """
    if not NAME.fullmatch(name):
        raise errors.UsageError(
            f"{name!r} cannot be a session's name",
            hint="use letters, digits, '.', '_' and '-', beginning with a letter or digit",
        )


def new_record(name: str, backend: str, label: str, endpoint: str, proxy: Proxy | None = None) -> Record:
    """A fresh record with an id of its own."""
    import uuid

    moment = now()
    return Record(
        id=str(uuid.uuid4()),
        name=name,
        label=label,
        backend=backend,
        created_at=moment,
        last_used_at=moment,
        runtime=Runtime(label=label, endpoint=endpoint, proxy=proxy),
    )
