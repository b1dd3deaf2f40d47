"""Asking Colab for a runtime, and writing down how far that got.

One process at a time works on a session's allocation (`exclusive`). What may have an effect is written before it is
sent. An answer that was lost is found again by the allocation's key.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Iterator
from functools import cached_property, partial
from pathlib import Path

from ... import config, errors
from ...jupyter.endpoint import Endpoint
from ...models.base import now as timestamp
from ...net import retry
from ...net.retry import RETRY_AFTER_MOST, jittered, persist
from ...store import former, leases, lifecycle, owners
from ...store.session_store import Allocation, Record, State, Store
from ...system import atomic_files, interrupts, logs
from ..protocol import AcquireOptions
from . import model, records, refusals
from .control import Ask, name_sessions, none_free
from .listing import Listing
from .model import Assignment

BOOT_LIMIT = 180.0  # seconds from the assignment until the runtime must answer (protocol C33)
BOOT_PAUSES = (0.5, 1.0, 2.0, 3.0, 5.0)
LOOK_ANEW = 8  # tries, half a minute, after which the listing is asked for the address of what does not answer
BUSY_TOLD = 3.0  # seconds after which it is told that another process is waited for
BOOT_TOLD = 20.0  # seconds after which the user is told that we wait
SHORT_WAITS = 3  # times that a short Retry-After is waited for, whatever the user's patience
CAPACITY_PAUSE = (15.0, 300.0)  # seconds between two requests for a machine: the first, and the most
LOOK_PAUSE = 5.0  # seconds between two listings while an unlisted runtime is waited for
PROBE_TIMEOUT = 10.0  # seconds for the question whether a runtime's server answers
EXCLUSIVE_WAIT = 600.0  # seconds that another process may work on the same allocation


class Allocator:
    """The allocations of the sessions in `state_dir`."""

    def __init__(self, settings: config.Config, state_dir: Path, listing: Listing) -> None:
        self._settings = settings
        self._state_dir = state_dir
        self._store = Store(state_dir)
        self._listing = listing

    # --- the record ---

    @contextlib.contextmanager
    def exclusive(self, record: Record, wait: float = EXCLUSIVE_WAIT) -> Iterator[None]:
        """One process at a time asks Colab about a session.

        Raises:
            errors.RuntimeBusy: another process has been at it for `wait` seconds.
        """
        path, first = self._lock_path(record), min(wait, BUSY_TOLD)
        with contextlib.ExitStack() as held:
            try:
                held.enter_context(atomic_files.lock(path, wait=first))
            except errors.LockHeld:
                if wait > first and retry.tell is not None:
                    retry.tell(
                        f"another command, or the keeper, is asking Colab about session {record.name!r}; "
                        f"waiting for it, up to {wait:.0f} s"
                    )
                try:
                    held.enter_context(atomic_files.lock(path, wait=wait - first))
                except errors.LockHeld:
                    raise records.busy(record, wait) from None
            yield

    def _lock_path(self, record: Record) -> Path:
        return self._state_dir / "colab" / record.id

    def refusal(self, record: Record) -> errors.Error | None:
        """Why another process's request for the same session was refused a moment ago; None if that is not known."""
        return refusals.noted(self._lock_path(record))

    def reread(self, record: Record) -> Record | None:
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
            record.kernel_name, record.kernels = stored.kernel_name, stored.kernels
        return stored

    def write(self, record: Record, found: Assignment, stage: State) -> None:
        """Store what Colab gave, and how far the allocation got with it. What was asked for is granted so."""
        granted = record.allocation is not None and record.allocation.state == "asked"
        records.take(record, found)
        if record.allocation is not None:
            record.allocation = lifecycle.after(record.allocation, "granted", time.time())
            record.allocation.state = record.allocation.state if granted else stage
            record.allocation.account = self._listing.holder() or record.allocation.account
        self.save(record, granted=granted)

    def save(self, record: Record, *, granted: bool = False) -> bool:
        """Store what a backend changes of a record, nothing else; False if the session is not stored any more.

        Args:
            granted: the lease begins now. That of an earlier runtime, which has ended, would end this one at once.
        """

        def change(stored: Record) -> None:
            if granted:
                stored.lease = record.lease = leases.fresh(leases.lease_of(stored), time.time())
            stored.runtime, stored.allocation = record.runtime, record.allocation
            stored.variant, stored.label = record.variant, record.label
            if record.kernel is None:
                stored.kernel = None
            if not record.kernels:
                stored.kernels = {}
            if record.helper is None:
                stored.helper = None

        return self._store.change(record.id, change) is not None

    def advance(self, record: Record, event: lifecycle.Event) -> lifecycle.Stage:
        """Note an event of the session's runtime, here and in the store; the state after it."""
        now, pause = time.time(), self.loss_pause

        def change(stored: Record) -> None:
            if stored.runtime.endpoint != record.runtime.endpoint:  # the session has another runtime by now
                return
            before = lifecycle.stage(stored)
            allocation = stored.allocation or records.of_predecessor(stored)
            stored.allocation = lifecycle.after(allocation, event, now, ended=before == "released", pause=pause)
            reached = lifecycle.stage(stored)
            if reached != before and reached in ("lost", "released"):
                stored.runtime.proxy, stored.allocation.lost_at = None, timestamp()
            elif before == "lost" != reached:
                stored.allocation.lost_at = None
            if reached != before:
                text = f"{stored.name}: {stored.runtime.endpoint} was {before}, is {reached} ({event})"
                logs.current().info("COLAB", text)

        stored = self._store.change(record.id, change)
        if stored is None or stored.runtime.endpoint != record.runtime.endpoint:
            change(record)
        else:
            record.runtime, record.allocation = stored.runtime, stored.allocation
        return lifecycle.stage(record)

    # --- whether it is there ---

    @cached_property
    def loss_pause(self) -> float:
        """See `lifecycle.LOSS_PAUSE`; a setting, so that rehearsals need not wait."""
        try:
            return max(float(self._settings.get("lossPause").value or ""), 0.0)
        except ValueError:
            return lifecycle.LOSS_PAUSE

    def look(self, record: Record, *, fresh: bool = False) -> Assignment | None:
        """The session's row in the listing, None when the listing lacks it (protocol C15); the record learns of that.

        Raises:
            errors.Error: Colab could not be asked.
        """
        if not record.runtime.endpoint:
            return None
        found = lifecycle.stage(record)
        listed = self._listing.row(record, fresh=fresh or found == "unlisted")
        if listed is not None:
            if found in ("unlisted", "lost"):
                self.advance(record, "listed")
        elif found in ("booting", "ready"):
            self.advance(record, "missing")
        elif found == "unlisted":
            assert record.allocation is not None
            if lifecycle.waits(record.allocation, time.time(), self.loss_pause) == 0:
                self.advance(record, "answered" if self.answers(record) else "silent")
        return listed

    def answers(self, record: Record) -> bool:
        """Whether the runtime answers, under the stored token, which may be stale (protocol C30), or another."""
        agent = self._settings.client_agent
        if record.runtime.proxy is not None and self._probe(records.endpoint(record, agent)) is None:
            return True
        try:
            found = self._listing.control_of(record).proxy(record.runtime.endpoint)
        except (errors.NotFoundError, errors.NoProxy, errors.UsageError):
            return False
        records.take_proxy(record, found)
        if self._probe(records.endpoint(record, agent)) is not None:
            return False
        self.save(record)
        return True

    @staticmethod
    def _probe(endpoint: Endpoint) -> errors.Error | None:
        """Why the runtime's server does not answer; None when it does."""
        from ...net.http import Http

        http = Http(endpoint.url, endpoint.headers)
        try:
            http.request("GET", "api/kernels", timeout=PROBE_TIMEOUT, repeat=False)
        except (errors.ConnectionFailed, errors.NotFoundError, errors.AuthError) as error:
            return error
        finally:
            http.close()
        return None

    def await_listed(self, record: Record, terms: AcquireOptions) -> None:
        """Wait until it is known whether an unlisted runtime is there: `loss_pause` seconds at most, and one probe.

        Raises:
            errors.Error: Colab could not be asked.
        """
        told = False
        while lifecycle.stage(record) == "unlisted":
            if self.answers(record):
                self.advance(record, "answered")
                return
            if self.look(record) is not None or lifecycle.stage(record) != "unlisted":
                return
            assert record.allocation is not None
            left = lifecycle.waits(record.allocation, time.time(), self.loss_pause)
            if not told:
                told = True
                terms.tell(
                    f"Colab does not list the runtime of session {record.name!r} now, and it does not answer; "
                    f"waiting up to {left:.0f} s to learn whether it is gone"
                )
            time.sleep(min(max(left, 0.1), LOOK_PAUSE))

    # --- asking ---

    def claim(self, record: Record) -> None:
        """From now on, this process is the one that wants what was asked for."""
        assert record.allocation is not None
        asker = owners.this_process()
        if record.allocation.unwanted or record.allocation.asked_by not in (None, asker):
            record.allocation = lifecycle.after(record.allocation, "wanted", time.time())
            record.allocation.asked_by = asker
            self.save(record)

    def disown(self, record: Record) -> None:
        """Note that this process does not want any more what it has asked for, unless another one wants it now."""

        def change(stored: Record) -> None:
            asked = stored.allocation
            if asked is not None and asked.state == "asked" and asked.asked_by == owners.this_process():
                stored.allocation = lifecycle.after(asked, "closed", time.time())

        self._store.change(record.id, change)

    def start_over(self, record: Record, key: str = "") -> None:
        """Make a lost record one for a new runtime, under this key, or a fresh one."""
        assert record.allocation is not None
        ended = lifecycle.stage(record) == "released"
        former.note(self._state_dir, record, time.time(), ended=ended)
        record.allocation = lifecycle.after(record.allocation, "renewed", time.time(), ended=ended)
        record.allocation.key, record.allocation.plane = key or records.new_key(), self._listing.plane
        record.allocation.sent = record.allocation.adopted = False
        record.allocation.lost_at = None
        record.runtime.endpoint, record.runtime.proxy = "", None
        record.kernel = record.helper = record.message_size = record.frame_form = None
        record.kernels = {}
        self.save(record)

    def assign(self, record: Record, terms: AcquireOptions, *, replaces: bool) -> Assignment:
        """Ask Colab, for each allowed accelerator in turn, as long as the terms allow.

        A refusal forgets the session, unless it has had a runtime before (`replaces`): then it is lost as before.
        """
        assert record.allocation is not None
        earlier = unanswered = record.allocation.sent  # a request whose effect is not known yet

        def sending(begins: bool) -> None:
            nonlocal unanswered
            unanswered = begins or earlier
            assert record.allocation is not None
            record.allocation.sent, record.allocation.asked_by = unanswered, owners.this_process()
            if begins:
                record.allocation.asked_at, record.allocation.asked_tick = time.time(), time.monotonic()
            record.allocation.account = self._listing.holder()
            try:
                with interrupts.Hold():
                    stored = self.save(record)
            except KeyboardInterrupt:
                unanswered = record.allocation.sent = earlier  # nothing is sent then
                raise
            if not stored and begins:
                raise records.closed_meanwhile(record)

        pause, short = CAPACITY_PAUSE[0], SHORT_WAITS
        until = time.monotonic() + terms.patience

        def again(error: errors.Error) -> bool | float:
            nonlocal unanswered, pause, short
            refused = isinstance(error, (errors.QuotaError, errors.BlockedError))
            waits = not refused and isinstance(error, (errors.CapacityError, errors.RateLimited))
            unanswered = unanswered and not (refused or waits)
            wait = error.retry_after or jittered(pause)
            if isinstance(error, errors.RateLimited) and error.retry_after and wait <= RETRY_AFTER_MOST and short > 0:
                short -= 1
                terms.tell(f"{error.message}; asking again in {wait:.0f} s")
                return wait
            if not waits or time.monotonic() + wait > until:
                return False
            terms.tell(f"{error.message}; asking again in {wait:.0f} s")
            pause = min(pause * 2, CAPACITY_PAUSE[1])
            return wait

        try:
            allowed = self._allowed(record.allocation, terms)
            allocation = record.allocation
            assign = partial(self._listing.assign, allocation, sending, terms.tell)
            found = persist(lambda: self._first_free(allocation, allowed, assign), again=again, attempts=None)
            self._listing.forget()
            return found
        except (errors.Error, KeyboardInterrupt) as error:
            name_sessions(error, self._store.records())
            record.allocation.account = self._listing.holder() or record.allocation.account
            # A request that was not answered may have had an effect: its key is kept, and the next command finds out.
            if not unanswered and replaces:
                record.allocation.state = "lost"
                self.save(record)
            elif not unanswered:
                if isinstance(error, errors.Error):
                    refusals.note(self._lock_path(record), error)
                self._store.remove(record.id)
            raise

    def _first_free(self, allocation: Allocation, names: list[str], assign: Callable[[Ask], Assignment]) -> Assignment:
        assert allocation.key is not None
        refusals: list[errors.Error] = []
        for name in names or [None]:  # type: ignore[list-item]
            ask = Ask(
                key=allocation.key, variant=allocation.variant, accelerator=name, high_memory=allocation.high_memory
            )
            try:
                found = assign(ask)
            except errors.CapacityError as error:
                refusals.append(error)
                continue
            if names and found.accelerator not in names:
                self._listing.control_for(allocation.plane).unassign(found.endpoint)
                raise errors.CapacityError(
                    f"Colab gave {model.label(found.variant, found.accelerator)} instead of {ask}; it was given back",
                    name="WrongAccelerator",
                    hint="wait for the right one: repeat the same command with --wait-for-capacity 2h",
                )
            return found
        if len(refusals) == 1:
            raise refusals[0]
        raise none_free(names, refusals)

    def _allowed(self, allocation: Allocation, terms: AcquireOptions) -> list[str]:
        """The accelerators that were asked for and that this account may use.

        Raises:
            errors.UsageError: a name that Colab does not know. errors.QuotaError: it knows them, and allows none.
        """
        if not allocation.accelerators:
            return []
        try:
            account = self._listing.account()
        except errors.ConnectionFailed as error:  # Colab itself will say
            logs.current().info("COLAB", f"the names were not checked: {error.message}")
            return allocation.accelerators
        eligible = account.names
        if eligible is None:
            return allocation.accelerators
        refused = [*(account.refused_gpus or []), *(account.refused_tpus or [])]
        may = ", ".join(eligible) or "none"
        typed = dict(zip(allocation.accelerators, allocation.typed, strict=False))
        for name in allocation.accelerators:
            if name not in eligible and name not in refused:
                import difflib

                alike = [item for item in (*eligible, *refused) if item[:1] == name[:1]]
                near = difflib.get_close_matches(name, alike, n=1, cutoff=0.5)
                option = "tpu" if model.is_tpu(near[0] if near else name) else "gpu"
                raise errors.UsageError(
                    f"there is no accelerator {typed.get(name, name)!r}; this account may use: {may}",
                    name="UnknownAccelerator",
                    hint=f"did you mean --{option} {near[0]}?" if near else "lecoder-cgpu gpus",
                )
        allowed = [name for name in allocation.accelerators if name in eligible]
        if not allowed:
            raise errors.NotEntitled(
                f"this account may not use {', '.join(typed.get(name, name) for name in allocation.accelerators)}; "
                f"it may use: {may}",
                hint="lecoder-cgpu gpus shows what it may use; others come with a paid plan or compute units",
            )
        for name in allocation.accelerators:
            if name not in allowed:
                terms.tell(f"this account may not use {typed.get(name, name)}")
            elif re.search(r"\d\s*GI?B\b", typed.get(name, ""), re.I):
                terms.tell(
                    f"{typed[name]}: Colab chooses how much memory an {name} has; see it in: lecoder-cgpu status"
                )
        return allowed

    def await_boot(self, record: Record, terms: AcquireOptions) -> None:
        """Wait until the runtime's Jupyter server answers; it does so some time after the assignment.

        Raises:
            errors.LostError: it is gone again. errors.ConnectionFailed: it does not answer within `BOOT_LIMIT` seconds.
        """
        begun, tries, told = time.monotonic(), 0, False
        problem: errors.Error | None = None
        if record.runtime.proxy is None:
            self._take_if_listed(record)
        while time.monotonic() - begun < BOOT_LIMIT:
            if record.runtime.proxy is None:
                time.sleep(BOOT_PAUSES[-1])
                self._take_if_listed(record)
                continue
            problem = self._probe(records.endpoint(record, self._settings.client_agent))
            if problem is None:
                self.advance(record, "answered")
                return
            tries += 1
            if not told and time.monotonic() - begun > BOOT_TOLD:
                told = True
                terms.tell(f"the runtime was assigned and is still starting ({problem.message})")
            if tries % (LOOK_ANEW if isinstance(problem, errors.ConnectionFailed) else 3) == 0:
                self._take_if_listed(record)
            time.sleep(BOOT_PAUSES[min(tries, len(BOOT_PAUSES)) - 1])
        raise records.no_boot(record, BOOT_LIMIT, problem.message if problem else "")

    def _take_if_listed(self, record: Record) -> None:
        with contextlib.suppress(errors.Unlisted):
            self.take_listed(record)

    def take_listed(self, record: Record) -> None:
        """Take address and token from the listing.

        Raises:
            errors.LostError: the runtime is gone. errors.Unlisted: the listing lacks it.
        """
        listed = self.look(record, fresh=True)
        if listed is None:
            raise records.lost(record) if lifecycle.is_gone(record) else records.unlisted(record)
        self.write(
            record, self._listing.with_proxy(record, listed), record.allocation.state if record.allocation else "ready"
        )
