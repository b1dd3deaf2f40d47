"""Backend `colab`: runtimes that Google Colab lends to the user's account.

Money and state come first here. What is asked for is written down before Colab is asked, under a key that finds the
runtime again when the answer is lost. One process at a time works on a session's allocation. A warm command asks
Colab nothing: address and proxy token are in the record, and only a refusal of the runtime's proxy makes us ask the
listing, which tells a stale token from a runtime that may be gone. What that means, `store/lifecycle.py` decides.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ... import config, errors
from ...jupyter.endpoint import Endpoint
from ...store import leases, lifecycle, owners
from ...store.session_store import Allocation, Record, Store, new_record
from ...system import logs
from ..protocol import AcquireOptions, ConsentState, HeldRuntime, Leased, Released, RuntimeRequest
from . import records
from .allocation import Allocator
from .listing import Listing
from .model import MEMORY, Assignment

if TYPE_CHECKING:
    from ...jupyter.messages import Message
    from ...jupyter.watch_driver import Responder
    from ...models.status import Account as AccountDocument
    from ..protocol import Account, Machine, Upstream

RELEASE_PAUSES = (0.0, 0.5, 1.5)  # seconds before each look whether a runtime has left the listing (protocol C16)
RELEASE_WAIT = 30.0  # seconds that a command that ends a runtime waits for one that is asking for it


class Backend(Leased):
    """The runtimes of one Google account."""

    name = "colab"
    label = "Colab"
    lends_accelerators = True
    languages = ("python", "r", "julia")
    no_page = "Colab's web page cannot attach to a runtime that was made from a terminal: it would get another one"
    memory = MEMORY
    page = "https://colab.research.google.com (Runtime, Manage sessions)"
    restrictions = (
        "Colab's terms restrict {what} on free runtimes; without a positive balance of compute units it may end the "
        "runtime at any moment, and what runs there and its files are lost then"
    )

    def __init__(self, settings: config.Config, state_dir: Path) -> None:
        self._settings = settings
        self._store = Store(state_dir)
        self._listing = Listing(settings, state_dir)
        self._allocator = Allocator(settings, state_dir, self._listing)

    def close(self) -> None:
        self._listing.close()

    # --- what is known here ---

    def create(self, name: str, wants: RuntimeRequest) -> Record:
        """A record of what is wanted; Colab is asked when it is obtained.

        Raises:
            errors.AuthError: not logged in. errors.UsageError: that is no accelerator's name.
        """
        allocation = records.allocation_for(wants)
        allocation.plane = self._listing.plane
        self._listing.login.source()
        record = new_record(name, "colab", f"Colab {allocation.variant}", "")
        record.variant = allocation.variant
        allocation.account = self._listing.holder()
        record.allocation = allocation
        record.lease = leases.changed(leases.lease_of(record), wants.limits)
        return record

    def serves(self, record: Record, wants: RuntimeRequest) -> bool:
        allocation = record.allocation or records.of_predecessor(record)
        # Before it is known what Colab gives, everything that it may give has to be wanted.
        found = allocation.accelerators if allocation.state == "asked" else [records.accelerator_of(record)]
        variant = "DEFAULT" if wants.cpu else "TPU" if wants.tpu is not None else "GPU" if wants.gpu else record.variant
        named = records.names(wants.gpu, "GPU") or records.names(wants.tpu or (), "TPU")
        if record.variant != variant or (named and not (found and set(found) <= set(named))):
            return False
        return not wants.high_ram or allocation.high_memory

    def find(self, record: Record) -> Endpoint | None:
        if record.runtime.proxy is None or lifecycle.stage(record) != "ready":
            return None
        return self._endpoint(record)

    def state(self, record: Record) -> lifecycle.Stage:
        return lifecycle.stage(record)

    def known_gone(self, record: Record) -> bool:
        return lifecycle.is_gone(record)

    def _endpoint(self, record: Record) -> Endpoint:
        return records.endpoint(record, self._settings.client_agent)

    def has_account(self) -> bool:
        return self._listing.login.is_logged_in()

    def holder(self) -> AccountDocument | None:
        return self._listing.login.account()

    # --- what Colab knows ---

    def services(self) -> list[str]:
        keys = ["oauthDomain", "googleApisDomain"]
        keys.append("colabPublicApiDomain" if self._settings.get("colabApi").value == "public" else "colabApiDomain")
        return [self._settings.get(key).value or "" for key in keys]

    def account(self) -> Account:
        return self._listing.account()

    def tier(self) -> str | None:
        return self._listing.control.tier()

    def runtimes(self) -> list[HeldRuntime]:
        """Every runtime of the account, ours or not (protocol C18)."""
        return [records.held(item) for item in self._listing.rows()]

    def look_anew(self) -> None:
        self._listing.forget()

    def is_gone(self, record: Record) -> bool:
        if lifecycle.stage(record) != "closing":
            self._allocator.look(record)
        # The command that waited for its boot may have been killed.
        if lifecycle.stage(record) == "booting" and self._allocator.answers(record):
            self._allocator.advance(record, "answered")
        return self.known_gone(record)

    def refresh_endpoint(self, record: Record, error: errors.Error) -> Endpoint | None:
        """A fresh token for the same runtime: another process's, or from the listing. See `backends.Backend`."""
        if isinstance(error, errors.ConnectionFailed) and not error.retryable:
            return None
        used = record.runtime.proxy
        with self._allocator.exclusive(record):
            stored = self._allocator.reread(record)
            if stored is None:
                raise records.closed_in_use(record)
            if self.known_gone(record):
                raise records.lost(record)
            if record.runtime.proxy != used and record.runtime.proxy is not None:
                return self._endpoint(record)
            logs.current().info("COLAB", f"the proxy failed, asking the listing: {error.message}")
            listed = self._allocator.look(record)
            if self.known_gone(record):
                raise records.lost(record)
            if listed is None:
                raise records.unlisted(record)
            listed = self._listing.with_proxy(record, listed)
            assert listed.proxy is not None
            if used is not None and (listed.proxy.token, listed.proxy.url) == (used.token, used.url):
                return None  # it came with the listing that was asked a moment ago
            closing = lifecycle.stage(record) == "closing"  # work that goes on meanwhile is no reason to keep it
            self._allocator.write(record, listed, "closing" if closing else "ready")
            return self._endpoint(record)

    # --- obtaining ---

    def obtain(self, record: Record, terms: AcquireOptions) -> tuple[Endpoint, bool]:
        """The session's endpoint. Many processes at once ask Colab once; the others find what it gave.

        Raises:
            errors.LostError: its runtime is gone, and the terms do not allow another; or it is being given back.
            errors.QuotaError, errors.CapacityError, errors.BlockedError: refused; the session is forgotten then.
            errors.UsageError: there is no such accelerator. errors.AuthError: no login.
            errors.ConnectionFailed: Colab was not reached, or the runtime does not answer.
        """
        with self._allocator.exclusive(record):
            if self._allocator.reread(record) is None:
                raise self._allocator.refusal(record) or records.closed_meanwhile(record)
            if record.allocation is None:
                record.allocation = records.of_predecessor(record)
            fresh = replaces = False
            if lifecycle.stage(record) == "closing":
                self._reopen(record, terms)
            if lifecycle.stage(record) == "lost":
                self._allocator.look(record, fresh=True)
            if lifecycle.stage(record) == "unlisted":
                self._allocator.await_listed(record, terms)
            if self.known_gone(record):
                over = record.lease is not None and record.lease.ended in ("runtime", "units")  # the user's own limits
                if not terms.replace or over or lifecycle.stage(record) == "closing":
                    raise records.lost(record)
                terms.tell(f"{records.lost(record).message}, and all that was on it; a new one is started")
                replaces = True
                self._allocator.start_over(record, terms.key)
            if lifecycle.stage(record) in ("asked", "booting"):
                self._allocator.claim(record)
            if record.allocation.state == "asked":
                self._allocator.write(record, self._allocator.assign(record, terms, replaces=replaces), "booting")
                fresh = True
            if record.runtime.proxy is None or record.allocation.state == "booting":
                self._allocator.await_boot(record, terms)
            return self._endpoint(record), fresh

    def _reopen(self, record: Record, terms: AcquireOptions) -> None:
        """Take back a runtime that was to be closed, unless its lease has ended or Colab has accepted its end."""
        if record.lease is not None and record.lease.ended is not None:
            raise leases.ended(record.name, record.lease)
        if lifecycle.is_accepted(record):
            if self._end(record) == "requested":
                return
            self._allocator.advance(record, "ended")
            return
        listed = self._listing.row(record, fresh=True)
        self._allocator.advance(record, "wanted")
        terms.tell(f"session {record.name!r} was to be closed, and its runtime was still there; it is used again")
        if listed is None:
            self._allocator.advance(record, "missing")
        else:  # its address may be another one by now
            self._allocator.write(record, self._listing.with_proxy(record, listed), "booting")

    # --- taking over and giving back ---

    def adopt(self, endpoint: str, name: str) -> Record:
        """A record for a runtime of the account that this folder knows nothing of.

        Raises:
            errors.NotFoundError: the account holds no such runtime.
        """
        found = next((item for item in self._listing.rows() if item.endpoint.casefold() == endpoint.casefold()), None)
        if found is None:
            held = ", ".join(item.endpoint for item in self._listing.rows()) or "none"
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
            account=self._listing.holder(),
            plane=self._listing.plane,
            high_memory=found.high_memory,
            variant=variant if variant in ("GPU", "TPU") else "DEFAULT",  # type: ignore[arg-type]
            accelerators=[] if found.accelerator == "NONE" else [found.accelerator],
        )
        records.take(record, self._listing.with_proxy(record, found))
        return record

    def release(self, record: Record) -> Released:
        """End the runtime. `runtime`: the listing confirms it; `requested`: Colab was told, and still lists it."""
        with self._allocator.exclusive(record, wait=RELEASE_WAIT):
            if self._allocator.reread(record) is None:
                return "nothing"  # another process has released it meanwhile
            return self._release(record)

    def withdraw(self, record: Record) -> Released | None:
        self._allocator.disown(record)  # before anything else, so that a killed command leaves what it was about
        with self._allocator.exclusive(record, wait=RELEASE_WAIT):
            if self._allocator.reread(record) is None:
                return "nothing"
            if record.allocation is None or record.allocation.asked_by != owners.this_process():
                return None
            return self._release(record)

    def _release(self, record: Record) -> Released:
        allocation = record.allocation
        if lifecycle.stage(record) == "released":
            return "nothing"
        if not record.runtime.endpoint and allocation is not None and allocation.key is not None and allocation.sent:
            # An answer may have been lost.
            found = self._listing.control_of(record).find(records.ask_of(allocation))
            if found is not None:
                self._allocator.write(record, found, "booting")
            elif left := records.may_appear(allocation):
                self._allocator.advance(record, "closed")
                raise records.unanswered(record, left)
        if not record.runtime.endpoint:
            self._store.remove(record.id)  # here, where nobody else can ask for a runtime under its key
            return "nothing"
        self._allocator.advance(record, "closed")  # written first, so that a killed command leaves what it was about
        return self._end(record)

    def _end(self, record: Record) -> Released:
        """Tell Colab to end the runtime of a closing session, and look whether it has."""
        endpoint, plane = record.runtime.endpoint, records.plane_of(record)
        ended = self._listing.control_for(plane).unassign(endpoint)
        self._allocator.advance(record, "accepted")
        return self._confirmed(endpoint, plane, ended)

    def retire(self, record: Record) -> bool:
        """Release the runtime and keep the record, as that of a runtime that is gone; False while Colab lists it.

        Without an end of its lease, a session is retired only while it is closing: a command may have taken it back.
        """
        with self._allocator.exclusive(record, wait=RELEASE_WAIT):
            if self._allocator.reread(record) is None:
                return True
            ended = record.lease is not None and record.lease.ended is not None
            if not ended and lifecycle.stage(record) != "closing":
                return False
            if self._release(record) == "requested":
                return False
            if lifecycle.stage(record) == "closing":
                self._allocator.advance(record, "ended")
        return True

    def release_endpoint(self, endpoint: str, plane: str | None = None) -> Released:
        """The same for a runtime without a session here."""
        plane = plane or self._listing.plane
        return self._confirmed(endpoint, plane, self._listing.control_for(plane).unassign(endpoint))

    def _confirmed(self, endpoint: str, plane: str, ended: bool) -> Released:
        """What became of a runtime that Colab was told to end. `ended`: it was there."""
        for pause in RELEASE_PAUSES:
            time.sleep(pause)
            if all(item.endpoint != endpoint for item in self._listing.rows(plane, fresh=True)):
                return "runtime" if ended else "nothing"
        return "requested"

    def reconcile(self, record: Record) -> bool:
        """Find out about an allocation whose answer was lost; False when it came to nothing. True when somebody is
        working on it now."""
        if record.allocation is None or record.allocation.state != "asked" or not record.allocation.sent:
            return True
        with contextlib.suppress(errors.RuntimeBusy, errors.ConfigError), self._allocator.exclusive(record, wait=0):
            if self._allocator.reread(record) is None or record.allocation.state != "asked":
                return True
            if owners.is_unwanted(record):
                self._allocator.advance(record, "closed")
            found = self._listing.control_of(record).find(records.ask_of(record.allocation))
            if found is not None:
                self._allocator.write(record, found, "booting")
            elif records.may_appear(record.allocation) == 0:
                if record.allocation.unwanted:
                    self._store.remove(record.id)  # here, where nobody else can ask for a runtime under its key
                return False
        return True

    def give_up(self, record: Record) -> None:
        """Look whether the runtime is listed, and note what that means."""
        with self._allocator.exclusive(record):
            if self._allocator.reread(record) is not None and lifecycle.stage(record) != "closing":
                self._allocator.look(record)

    def certainly_gone(self, record: Record) -> bool:
        """Whether the session's runtime is lost or released, after a look at the listing."""
        if lifecycle.stage(record) == "closing":
            return self.retire(record)
        if lifecycle.stage(record) == "unlisted":
            self._allocator.await_listed(record, AcquireOptions())
        else:
            self._allocator.look(record)
        return lifecycle.stage(record) in ("lost", "released")

    def keep_alive(self, record: Record) -> bool:
        assignment = Assignment(
            endpoint=record.runtime.endpoint,
            variant=record.variant,
            accelerator=record.runtime.accelerator,
            address=record.allocation.address if record.allocation is not None else None,
        )
        return self._listing.control_of(record).keep_alive(assignment)

    def machine(self, record: Record, endpoint: Endpoint) -> Machine | None:
        """GPUs, memory and disk as the runtime's own route tells, where no helper of ours runs yet."""
        from . import resources

        return resources.machine(endpoint) if record.helper is None else None

    def upstream(self, record: Record) -> Callable[[int], Upstream]:
        from ..protocol import Upstream
        from .model import SERVER_PORT

        def find(port: int) -> Upstream:
            found = self._listing.control_of(record).proxy(record.runtime.endpoint, port)
            url, server = found.url.rstrip("/"), record.runtime.proxy
            # Who ignores the port that was asked for gives the Jupyter server's address, which nobody meant to open.
            if port != SERVER_PORT and server is not None and url == server.url.rstrip("/"):
                raise errors.NotFoundError(
                    "Colab answers with the address of the Jupyter server", name="NotFound", hint="leave out --via"
                )
            return Upstream(url, records.TOKEN_HEADER, found.token, time.time() + found.lifetime)

        return find

    def port_path(self, record: Record) -> Callable[[int], Upstream]:
        from ..protocol import Upstream

        def find(port: int) -> Upstream:  # protocol C59
            found = self._listing.control_of(record).proxy(record.runtime.endpoint)
            url = f"{found.url.rstrip('/')}/_proxy/{port}"
            return Upstream(url, records.TOKEN_HEADER, found.token, time.time() + found.lifetime)

        return find

    def responder(
        self,
        record: Record,
        secrets: dict[str, str],
        tell: Callable[[str], None],
        may: Callable[[str, str], bool] = lambda kind, what: False,
    ) -> Responder:
        def agreed(kind: str, what: str) -> bool:
            return kind in (self._settings.get("colabConsent").value or "").split(",") or may(kind, what)

        def answer(message: Message) -> dict[str, Any] | None:
            if message.type != "colab_request":
                return None
            from .requests import Requests

            return Requests(self._listing.control_of(record), record, secrets, tell, agreed).answer(message)

        return answer

    def consent(self, record: Record, kind: str) -> ConsentState:
        from . import requests

        found = requests.propagate(self._listing.control_of(record), record.runtime.endpoint, requests.GRANTS[kind])
        return ConsentState(found.success, found.consent_url)
