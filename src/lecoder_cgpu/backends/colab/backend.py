"""Backend `colab`: runtimes that Google Colab lends to the user's account.

Money and state come first here. What is asked for is written down before Colab is asked, under a key that finds the
runtime again when the answer is lost. One process at a time works on a session's allocation. A warm command asks
Colab nothing: address and proxy token are in the record, and only a refusal of the runtime's proxy makes us ask the
listing, which tells a stale token from a runtime that is gone. It has to say so twice before we believe that.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import structs

from ... import config, errors
from ...jupyter.endpoint import Endpoint
from ...store import leases
from ...store.session_store import Allocation, Proxy, Record, State, Store, new_record
from ...system import atomic_files, logs
from ..protocol import AcquireOptions, ConsentState, HeldRuntime, Leased, Released, RuntimeRequest
from .model import Assignment

if TYPE_CHECKING:
    from ...auth.tokens import Login
    from ...jupyter.execution_watch import Responder
    from ...jupyter.messages import Message
    from ...models.status import Account as AccountDocument
    from ..protocol import Account, Machine, Upstream
    from .control import Ask, Control

FOLDER = "content"  # where code on a Colab VM finds itself; its Jupyter server's root is / (protocol C36)
TOKEN_HEADER = "X-Colab-Runtime-Proxy-Token"  # noqa: S105 - the name of a header
LISTING_AGE = 5.0  # seconds for which one process believes a listing
GONE_PAUSE = 1.0  # seconds between the two listings that make a runtime lost (protocol C15)
# Seconds before each look whether a runtime has left the listing (protocol C16).
RELEASE_PAUSES = (0.0, 0.5, 1.5)
BOOT_LIMIT = 180.0  # seconds from the assignment until the runtime must answer (protocol C33)
BOOT_TRY = 10.0  # seconds for one try
BOOT_PAUSES = (0.5, 1.0, 2.0, 3.0, 5.0)
BOOT_TOLD = 20.0  # seconds after which the user is told that we wait
CAPACITY_PAUSE = (15.0, 300.0)  # seconds between two requests for a machine: the first, and the most
RELEASE_WAIT = 30.0  # seconds that who wants to end a runtime waits for whoever is asking for it
EXCLUSIVE_WAIT = 600.0  # seconds that another process may work on the same allocation


class Backend(Leased):
    """The runtimes of one Google account."""

    name = "colab"
    label = "Colab"
    lends_accelerators = True
    no_page = "Colab's web page cannot attach to a runtime that was made from a terminal: it would get another one"
    restrictions = (
        "Colab's terms restrict {what} on free runtimes; without a positive balance of compute units they may be ended"
    )

    def __init__(self, settings: config.Config, state_dir: Path) -> None:
        self._settings = settings
        self._state_dir = state_dir
        self._store = Store(state_dir)
        self._controls: dict[str, Control] = {}
        self._listings: dict[str, tuple[float, list[Assignment]]] = {}
        self._listing_lock = threading.Lock()

    @cached_property
    def login(self) -> Login:
        from ...auth import tokens

        return tokens.login(self._settings, self._state_dir)

    @cached_property
    def plane(self) -> str:
        """The name of the control plane for what is new."""
        from .planes import chosen_plane

        return chosen_plane(self._settings)

    @property
    def control(self) -> Control:
        """The control plane for what is new."""
        return self._control(self.plane)

    def _control(self, plane: str) -> Control:
        if plane not in self._controls:
            from .planes import open_control

            self._controls[plane] = open_control(plane, self._settings, self.login)
        return self._controls[plane]

    def control_of(self, record: Record) -> Control:
        """The control plane that knows a session's runtime, whatever the settings say now."""
        return self._control(_plane(record))

    def close(self) -> None:
        """Close the connections to Colab; the next use opens them again."""
        while self._controls:
            self._controls.popitem()[1].close()

    # --- what is known here ---

    def create(self, name: str, wants: RuntimeRequest) -> Record:
        """A record of what is wanted; Colab is asked when it is obtained.

        Raises:
            errors.AuthError: not logged in. errors.UsageError: that is no accelerator's name.
        """
        allocation = allocation_for(wants)
        allocation.plane = self.plane
        self.login.source()
        record = new_record(name, "colab", f"Colab {allocation.variant}", "")
        record.variant = allocation.variant
        record.allocation = allocation
        record.lease = leases.changed(leases.lease_of(record), wants.limits)
        return record

    def serves(self, record: Record, wants: RuntimeRequest) -> bool:
        allocation = record.allocation or _of_predecessor(record)
        # Before it is known what Colab gives, everything that it may give has to be wanted.
        found = allocation.accelerators if allocation.state == "asked" else [_got(record)]
        variant = "DEFAULT" if wants.cpu else "TPU" if wants.tpu is not None else "GPU" if wants.gpu else record.variant
        named = names(wants.gpu, "GPU") or names(wants.tpu or (), "TPU")
        if record.variant != variant or (named and not (found and set(found) <= set(named))):
            return False
        return not wants.high_ram or allocation.high_memory

    def find(self, record: Record) -> Endpoint | None:
        if record.runtime.proxy is None or (record.allocation is not None and record.allocation.state != "ready"):
            return None
        return self._endpoint(record)

    def state(self, record: Record) -> State:
        return record.allocation.state if record.allocation is not None else "ready"  # the predecessor's has none

    def known_gone(self, record: Record) -> bool:
        return self.state(record) in ("lost", "closing")

    def has_account(self) -> bool:
        return self.login.is_logged_in()

    def holder(self) -> AccountDocument | None:
        return self.login.account()

    def _endpoint(self, record: Record) -> Endpoint:
        assert record.runtime.proxy is not None
        proxy = record.runtime.proxy
        extra = {TOKEN_HEADER: proxy.token or "", "X-Colab-Client-Agent": self._settings.client_agent}
        return Endpoint(url=proxy.url.rstrip("/") + "/", folder=FOLDER, extra=extra)

    # --- what Colab knows ---

    def listing(self, plane: str | None = None, *, fresh: bool = False) -> list[Assignment]:
        """Every runtime of the account; at most `LISTING_AGE` seconds old, unless a fresh listing is wanted."""
        plane = plane or self.plane
        with self._listing_lock:
            known = self._listings.get(plane)
            if fresh or known is None or time.monotonic() - known[0] > LISTING_AGE:
                rows = self._control(plane).assignments()
                known = self._listings[plane] = (time.monotonic(), rows)
            return known[1]

    def services(self) -> list[str]:
        keys = ["oauthDomain", "googleApisDomain"]
        keys.append("colabPublicApiDomain" if self._settings.get("colabApi").value == "public" else "colabApiDomain")
        return [self._settings.get(key).value or "" for key in keys]

    def account(self) -> Account:
        return self.control.account()

    def tier(self) -> str | None:
        return self.control.tier()

    def runtimes(self) -> list[HeldRuntime]:
        """Every runtime of the account, ours or not (protocol C18)."""
        return [_held(item) for item in self.listing()]

    def is_gone(self, record: Record) -> bool:
        if self.known_gone(record):
            return True
        if not record.runtime.endpoint:
            return False
        return self._listed(record) is None

    def _listed(self, record: Record, *, fresh: bool = False) -> Assignment | None:
        rows = self.listing(_plane(record), fresh=fresh)
        return next((item for item in rows if item.endpoint == record.runtime.endpoint), None)

    def refresh_endpoint(self, record: Record, error: errors.Error) -> Endpoint | None:
        """A fresh token for the same runtime: another process's, or from the listing. See `backends.Backend`."""
        if isinstance(error, errors.ConnectionFailed) and not error.retryable:
            return None
        used = record.runtime.proxy
        with self._exclusive(record):
            stored = self._reread(record)
            if stored is None or self.known_gone(record):
                raise _lost(record)
            if record.runtime.proxy != used and record.runtime.proxy is not None:
                return self._endpoint(record)
            logs.current().info("COLAB", f"the proxy failed, asking the listing: {error.message}")
            listed = self._certainly_listed(record)
            if listed is None:
                self._mark_lost(record)
                raise _lost(record)
            listed = self._with_proxy(record, listed)
            assert listed.proxy is not None
            if used is not None and (listed.proxy.token, listed.proxy.url) == (used.token, used.url):
                return None  # it came with the listing that was asked a moment ago
            self._write(record, listed, "ready")
            return self._endpoint(record)

    def _certainly_listed(self, record: Record) -> Assignment | None:
        """The session's row in the listing; None only after two listings without it.

        Only the listing tells a lost runtime from a stale token (protocol C30).
        """
        listed = self._listed(record)
        if listed is None:
            time.sleep(GONE_PAUSE)
            listed = self._listed(record, fresh=True)
        return listed

    def _with_proxy(self, record: Record, listed: Assignment) -> Assignment:
        """The row of a listing with the address and token that it should have, asked for if they are missing."""
        if listed.proxy is not None:
            return listed
        return structs.replace(listed, proxy=self.control_of(record).proxy(listed.endpoint))

    # --- obtaining ---

    def obtain(self, record: Record, terms: AcquireOptions) -> tuple[Endpoint, bool]:
        """The session's endpoint. Many processes at once ask Colab once; the others find what it gave.

        Raises:
            errors.LostError: its runtime is gone, and the terms do not allow another.
            errors.QuotaError, errors.CapacityError, errors.BlockedError: refused; the session is forgotten then.
            errors.UsageError: there is no such accelerator. errors.AuthError: no login.
            errors.ConnectionFailed: Colab was not reached, or the runtime does not answer.
        """
        with self._exclusive(record):
            if self._reread(record) is None:
                raise errors.CapacityError(
                    f"the runtime of session {record.name!r} was refused or closed by another command",
                    name="AllocationFailed",
                    hint=f"ask for it again: lecoder-cgpu sessions ensure {record.name}",
                )
            if record.allocation is None:
                record.allocation = _of_predecessor(record)
            fresh = replaces = False
            if self.known_gone(record):
                over = record.lease is not None and record.lease.ended in ("runtime", "units")  # the user's own limits
                if not terms.replace or over or record.allocation.state == "closing":
                    raise _lost(record)
                terms.tell(f"{_lost(record).message}, and all that was on it; a new one is started")
                replaces = True
                self._start_over(record)
            if record.allocation.state == "asked":
                self._write(record, self._assign(record, terms, replaces=replaces), "booting")
                fresh = True
            if record.runtime.proxy is None or record.allocation.state == "booting":
                self._await_boot(record, terms)
            return self._endpoint(record), fresh

    def _start_over(self, record: Record) -> None:
        assert record.allocation is not None
        record.allocation.key = new_key()
        record.allocation.state, record.allocation.plane = "asked", self.plane
        record.allocation.sent = record.allocation.adopted = False
        record.runtime.endpoint, record.runtime.proxy = "", None
        record.kernel = record.helper = None
        self._save(record)

    def _assign(self, record: Record, terms: AcquireOptions, *, replaces: bool) -> Assignment:
        """Ask Colab, for each allowed accelerator in turn, as long as the terms allow.

        A refusal forgets the session, unless it has had a runtime before (`replaces`): then it is lost as before.
        """
        assert record.allocation is not None
        unanswered = record.allocation.sent  # a request whose effect is not known yet

        def sending() -> None:
            nonlocal unanswered
            unanswered = True
            assert record.allocation is not None
            record.allocation.sent = True
            self._save(record)

        try:
            allowed = self._allowed(record.allocation, terms)
            pause = CAPACITY_PAUSE[0]
            until = time.monotonic() + terms.patience
            while True:
                try:
                    return self._first_free(record.allocation, allowed, sending)
                except (errors.QuotaError, errors.BlockedError):
                    unanswered = False
                    raise
                except (errors.CapacityError, errors.RateLimited) as error:
                    unanswered = False
                    wait = error.retry_after or _jittered(pause)
                    if time.monotonic() + wait > until:
                        raise
                    terms.tell(f"{error.message}; asking again in {wait:.0f} s")
                time.sleep(wait)
                pause = min(pause * 2, CAPACITY_PAUSE[1])
        except (errors.Error, KeyboardInterrupt):
            # A request that was not answered may have had an effect: its key is kept, and the next command finds out.
            if not unanswered and replaces:
                record.allocation.state = "lost"
                self._save(record)
            elif not unanswered:
                self._store.remove(record.id)
            raise

    def _first_free(self, allocation: Allocation, allowed: list[str], sending: Callable[[], None]) -> Assignment:
        from .control import Ask
        from .model import label

        assert allocation.key is not None
        refusals: list[errors.Error] = []
        for name in allowed or [None]:  # type: ignore[list-item]
            ask = Ask(
                key=allocation.key, variant=allocation.variant, accelerator=name, high_memory=allocation.high_memory
            )
            try:
                found = self._control(allocation.plane).assign(ask, sending)
            except errors.CapacityError as error:
                refusals.append(error)
                continue
            if allowed and found.accelerator not in allowed:
                self._control(allocation.plane).unassign(found.endpoint)
                raise errors.CapacityError(
                    f"Colab gave {label(found.variant, found.accelerator)} instead of {ask}; it was given back",
                    name="WrongAccelerator",
                    hint="wait for the right one: repeat the same command with --wait-for-capacity 2h",
                )
            return found
        if len(refusals) == 1:
            raise refusals[0]
        raise errors.CapacityError(
            f"Colab has no free machine for any of {', '.join(allowed)} now",
            name=refusals[0].name,
            hint=refusals[0].hint,
            retry_after=max(item.retry_after or 0.0 for item in refusals) or None,
        )

    def _allowed(self, allocation: Allocation, terms: AcquireOptions) -> list[str]:
        """The accelerators that were asked for and that this account may use.

        Raises:
            errors.UsageError: a name that Colab does not know. errors.QuotaError: it knows them, and allows none.
        """
        if not allocation.accelerators:
            return []
        try:
            account = self.account()
        except errors.ConnectionFailed as error:  # Colab itself will say
            logs.current().info("COLAB", f"the names were not checked: {error.message}")
            return allocation.accelerators
        eligible = account.names
        if eligible is None:
            return allocation.accelerators
        refused = [*(account.refused_gpus or []), *(account.refused_tpus or [])]
        may = ", ".join(eligible) or "none"
        for name in allocation.accelerators:
            if name not in eligible and name not in refused:
                import difflib

                from . import model

                option = "tpu" if model.is_tpu(name) else "gpu"
                near = difflib.get_close_matches(name, [*eligible, *refused], n=1, cutoff=0.5)
                raise errors.UsageError(
                    f"there is no accelerator {name}; this account may use: {may}",
                    name="UnknownAccelerator",
                    hint=f"did you mean --{option} {near[0]}?" if near else "lecoder-cgpu gpus",
                )
        allowed = [name for name in allocation.accelerators if name in eligible]
        if not allowed:
            raise errors.QuotaError(
                f"this account may not use {', '.join(allocation.accelerators)}; it may use: {may}",
                name="NotEntitled",
                hint="lecoder-cgpu gpus shows what it may use; others come with a paid plan or compute units",
            )
        for name in allocation.accelerators:
            if name not in allowed:
                terms.tell(f"this account may not use {name}")
        return allowed

    def _await_boot(self, record: Record, terms: AcquireOptions) -> None:
        """Wait until the runtime's Jupyter server answers; it does so some time after the assignment.

        Raises:
            errors.LostError: it is gone again. errors.ConnectionFailed: it does not answer within `BOOT_LIMIT` seconds.
        """
        from ...net.http import Http

        begun, tries, told = time.monotonic(), 0, False
        problem: errors.Error | None = None
        if record.runtime.proxy is None:
            self._take_listed(record)
        while time.monotonic() - begun < BOOT_LIMIT:
            endpoint = self._endpoint(record)
            http = Http(endpoint.url, endpoint.headers)
            try:
                http.request("GET", "api/kernels", timeout=BOOT_TRY, repeat=False)
            except (errors.ConnectionFailed, errors.NotFoundError, errors.AuthError) as error:
                problem = error
            else:
                assert record.allocation is not None
                record.allocation.state = "ready"
                self._save(record)
                return
            finally:
                http.close()
            tries += 1
            if not told and time.monotonic() - begun > BOOT_TOLD:
                told = True
                terms.tell(f"the runtime was assigned and is still starting ({problem.message})")
            if tries % 3 == 0 and not isinstance(problem, errors.ConnectionFailed):
                self._take_listed(record)
            time.sleep(BOOT_PAUSES[min(tries, len(BOOT_PAUSES)) - 1])
        raise errors.ConnectionFailed(
            f"the runtime {record.runtime.endpoint} was assigned and does not answer after {BOOT_LIMIT:g} s: "
            + (problem.message if problem else ""),
            name="BootTimeout",
            hint=f"wait on: lecoder-cgpu sessions ensure {record.name}; or give it back: "
            f"lecoder-cgpu sessions close {record.name}",
        )

    def _take_listed(self, record: Record) -> None:
        listed = self._certainly_listed(record)
        if listed is None:
            self._mark_lost(record)
            raise _lost(record)
        self._write(record, self._with_proxy(record, listed), record.allocation.state if record.allocation else "ready")

    # --- taking over and giving back ---

    def adopt(self, endpoint: str, name: str) -> Record:
        """A record for a runtime of the account that this folder knows nothing of.

        Raises:
            errors.NotFoundError: the account holds no such runtime.
        """
        found = next((item for item in self.listing() if item.endpoint == endpoint), None)
        if found is None:
            held = ", ".join(item.endpoint for item in self.listing()) or "none"
            raise errors.NotFoundError(
                f"the account holds no runtime {endpoint!r} (it holds: {held})",
                name="RuntimeNotFound",
                hint="lecoder-cgpu sessions list",
            )
        record = new_record(name, "colab", found.label, found.endpoint)
        variant = found.variant
        record.allocation = Allocation(
            state="ready",
            adopted=True,
            plane=self.plane,
            high_memory=found.high_memory,
            variant=variant if variant in ("GPU", "TPU") else "DEFAULT",  # type: ignore[arg-type]
            accelerators=[] if found.accelerator == "NONE" else [found.accelerator],
        )
        _take(record, self._with_proxy(record, found))
        return record

    def release(self, record: Record) -> Released:
        """End the runtime. `runtime`: the listing confirms it; `requested`: Colab was told, and still lists it."""
        with self._exclusive(record, wait=RELEASE_WAIT):
            self._reread(record)
            allocation = record.allocation
            if allocation is not None and allocation.state == "lost":
                return "nothing"
            endpoint = record.runtime.endpoint
            if not endpoint and allocation is not None and allocation.key is not None:
                found = self.control_of(record).find(ask_of(allocation))  # an answer may have been lost
                endpoint = found.endpoint if found is not None else ""
            if not endpoint:
                return "nothing"
            if allocation is not None:
                allocation.state = "closing"  # written first, so that nobody keeps it alive meanwhile
                self._save(record)
            return self.release_endpoint(endpoint, _plane(record))

    def retire(self, record: Record) -> bool:
        """Release the runtime and keep the record, as that of a runtime that is gone; False while Colab lists it."""
        if self.release(record) == "requested":
            return False
        with self._exclusive(record):
            if self._reread(record) is not None:
                if record.allocation is None:
                    record.allocation = _of_predecessor(record)
                record.allocation.state = "lost"
                record.runtime.proxy = None
                self._save(record)
        return True

    def release_endpoint(self, endpoint: str, plane: str | None = None) -> Released:
        """The same for a runtime without a session here."""
        ended = self._control(plane or self.plane).unassign(endpoint)
        for pause in RELEASE_PAUSES:
            time.sleep(pause)
            if all(item.endpoint != endpoint for item in self.listing(plane, fresh=True)):
                return "runtime" if ended else "nothing"
        return "requested"

    def reconcile(self, record: Record) -> bool:
        """Find out about an allocation whose answer was lost; False when it came to nothing. True when somebody is
        working on it now."""
        if record.allocation is None or record.allocation.state != "asked" or not record.allocation.sent:
            return True
        with contextlib.suppress(errors.ConfigError), self._exclusive(record, wait=0):
            if self._reread(record) is None or record.allocation.state != "asked":
                return True
            found = self.control_of(record).find(ask_of(record.allocation))
            if found is None:
                return False
            self._write(record, found, "booting")
        return True

    def give_up(self, record: Record) -> None:
        """Note that a runtime is lost, if two listings say so."""
        with self._exclusive(record):
            if self._reread(record) is None or self.known_gone(record):
                return
            if self._certainly_listed(record) is None:
                self._mark_lost(record)

    def certainly_gone(self, record: Record) -> bool:
        """Whether two listings, one after the other, lack the session's runtime."""
        if self.known_gone(record):
            return (
                record.allocation is None or record.allocation.state == "lost" or self._certainly_listed(record) is None
            )
        return bool(record.runtime.endpoint) and self._certainly_listed(record) is None

    def keep_alive(self, record: Record) -> bool:
        assignment = Assignment(
            endpoint=record.runtime.endpoint,
            variant=record.variant,
            accelerator=record.runtime.accelerator,
            address=record.allocation.address if record.allocation is not None else None,
        )
        return self.control_of(record).keep_alive(assignment)

    def machine(self, record: Record, endpoint: Endpoint) -> Machine | None:
        """GPUs, memory and disk as the runtime's own route tells, where no helper of ours runs yet."""
        from . import resources

        return resources.machine(endpoint) if record.helper is None else None

    def upstream(self, record: Record) -> Callable[[int], Upstream]:
        from ..protocol import Upstream
        from .model import SERVER_PORT

        def find(port: int) -> Upstream:
            found = self.control_of(record).proxy(record.runtime.endpoint, port)
            url, server = found.url.rstrip("/"), record.runtime.proxy
            # Who ignores the port that was asked for gives the Jupyter server's address, which nobody meant to open.
            if port != SERVER_PORT and server is not None and url == server.url.rstrip("/"):
                raise errors.NotFoundError(
                    "Colab answers with the address of the Jupyter server", name="NotFound", hint="leave out --via"
                )
            return Upstream(url, TOKEN_HEADER, found.token, time.time() + found.lifetime)

        return find

    def responder(self, record: Record, secrets: dict[str, str], tell: Callable[[str], None]) -> Responder:
        def answer(message: Message) -> dict[str, Any] | None:
            if message.type != "colab_request":
                return None
            from .requests import Requests

            return Requests(self.control_of(record), record.runtime.endpoint, secrets, tell).answer(message)

        return answer

    def consent(self, record: Record, kind: str) -> ConsentState:
        from . import requests

        found = requests.propagate(self.control_of(record), record.runtime.endpoint, requests.GRANTS[kind])
        return ConsentState(found.success, found.consent_url)

    # --- the record ---

    @contextlib.contextmanager
    def _exclusive(self, record: Record, wait: float = EXCLUSIVE_WAIT) -> Iterator[None]:
        """One process at a time asks Colab about a session."""
        with atomic_files.lock(self._state_dir / "colab" / record.id, wait=wait):
            yield

    def _reread(self, record: Record) -> Record | None:
        """Bring a record up to what is stored; None when it is not stored any more."""
        stored = self._store.get(record.id)
        if stored is not None:
            record.runtime, record.allocation, record.variant, record.label = (
                stored.runtime,
                stored.allocation,
                stored.variant,
                stored.label,
            )
            record.kernel, record.helper, record.lease = stored.kernel, stored.helper, stored.lease
        return stored

    def _write(self, record: Record, found: Assignment, stage: str) -> None:
        _take(record, found)
        if record.allocation is not None:
            record.allocation.state = stage  # type: ignore[assignment]
        self._save(record)

    def _save(self, record: Record) -> None:
        def change(stored: Record) -> None:
            stored.runtime, stored.allocation = record.runtime, record.allocation
            stored.variant, stored.label = record.variant, record.label
            if record.kernel is None:
                stored.kernel = None
            if record.helper is None:
                stored.helper = None

        self._store.change(record.id, change)

    def _mark_lost(self, record: Record) -> None:
        logs.current().warn("COLAB", f"the runtime {record.runtime.endpoint} is gone: two listings lack it")
        if record.allocation is None:
            record.allocation = _of_predecessor(record)
        record.allocation.state = "lost"
        record.runtime.proxy = None
        self._save(record)


def _jittered(pause: float) -> float:
    """Nearly that many seconds, so that not all who wait come back at once."""
    import random

    return pause * random.uniform(0.8, 1.2)  # noqa: S311


def new_key() -> str:
    """A fresh key: a random UUID, from which Colab's notebook hash is made."""
    import uuid

    return str(uuid.uuid4())


def allocation_for(wants: RuntimeRequest) -> Allocation:
    """What to ask Colab for, with a fresh key.

    Raises:
        errors.UsageError: that is no accelerator's name, or one of the other kind.
    """
    allocation = Allocation(key=new_key(), high_memory=wants.high_ram)
    if wants.cpu:
        allocation.variant = "DEFAULT"
    elif wants.tpu is not None:
        allocation.variant = "TPU"
        allocation.accelerators = names(wants.tpu, "TPU")
    else:
        allocation.accelerators = names(wants.gpu, "GPU")
    return allocation


def names(typed: tuple[str, ...], kind: str) -> list[str]:
    """Accelerators as Colab spells them.

    Raises:
        errors.UsageError
    """
    from . import model

    found = []
    for text in typed:
        name = model.typed_accelerator(text)
        if not name:
            known = ", ".join(model.GPUS if kind == "GPU" else model.TPUS)
            raise errors.UsageError(
                f"{text!r} is no accelerator's name (Colab has, for example: {known})",
                name="UnknownAccelerator",
                hint="what this account may use: lecoder-cgpu gpus",
            )
        if model.is_tpu(name) != (kind == "TPU"):
            other = "--tpu" if kind == "GPU" else "--gpu"
            raise errors.UsageError(f"{text} is not a {kind}", name="UnknownAccelerator", hint=f"use {other} {text}")
        found.append(name)
    return found


def ask_of(allocation: Allocation) -> Ask:
    """The request of an allocation, for looking whether it had an effect."""
    from .control import Ask

    assert allocation.key is not None
    name = allocation.accelerators[0] if allocation.accelerators else None
    return Ask(key=allocation.key, variant=allocation.variant, accelerator=name, high_memory=allocation.high_memory)


def _take(record: Record, found: Assignment) -> None:
    """Write into a record what Colab says of its runtime."""
    record.label = record.runtime.label = found.label
    record.variant = found.variant
    record.runtime.endpoint = found.endpoint
    record.runtime.accelerator = "none" if found.accelerator == "NONE" else found.accelerator
    if found.proxy is not None:
        record.runtime.proxy = Proxy(
            url=found.proxy.url, token=found.proxy.token, token_expires_in_seconds=found.proxy.lifetime
        )
    if record.allocation is not None:
        record.allocation.address = found.address or record.allocation.address
        record.allocation.tier = found.tier or record.allocation.tier
        if found.proxy is not None:
            record.allocation.expires = time.time() + found.proxy.lifetime


def _held(found: Assignment) -> HeldRuntime:
    """A row of the listing as every lender tells it."""
    runtime = HeldRuntime(
        endpoint=found.endpoint,
        label=found.label,
        variant=found.variant,
        accelerator=found.accelerator,
        high_memory=found.high_memory,
    )
    if found.proxy is None:
        return runtime
    server = Endpoint(url=found.proxy.url.rstrip("/") + "/", folder=FOLDER, extra={TOKEN_HEADER: found.proxy.token})
    return structs.replace(runtime, url=found.proxy.url, server=server)


def _of_predecessor(record: Record) -> Allocation:
    """The allocation of a record that the predecessor wrote: the runtime is there, as far as anybody knows."""
    variant = record.variant if record.variant in ("GPU", "TPU") else "DEFAULT"
    got = _got(record)
    return Allocation(state="ready", variant=variant, accelerators=[] if got == "NONE" else [got])  # type: ignore[arg-type]


def _plane(record: Record) -> str:
    return record.allocation.plane if record.allocation is not None else "tunnel"


def _got(record: Record) -> str:
    from .model import accelerator

    return accelerator(record.runtime.accelerator)


def _lost(record: Record) -> errors.Error:
    if record.lease is not None and record.lease.ended is not None:
        return leases.ended(record.name, record.lease)
    return errors.LostError(
        f"the runtime of session {record.name!r} is gone",
        name="RuntimeLost",
        hint=f"a new one: lecoder-cgpu sessions ensure {record.name}; or forget it: lecoder-cgpu sessions clean",
    )
