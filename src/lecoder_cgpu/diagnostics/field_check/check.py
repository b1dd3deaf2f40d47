"""Goes through the facts: each within its own time, whatever the other side does, and makes the document of it."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Collection
from typing import NamedTuple

from ... import __version__, errors
from ...models.base import now
from ...models.field_check import FieldCheck, FieldFact
from ...sessions.session import Session
from ...system import logs
from . import access_facts, kernel_facts, lender_facts, server_facts, socket_facts
from .subject import NotSeen, Plan, Seen, Subject, plain, why

WHOLE = 200.0  # seconds for all facts; what is not tried by then is not seen
LONG = 1320.0  # seconds for silent sockets
UNSEEN = "goes on as if it were as expected"

Look = Callable[[Subject], Seen]


class Fact(NamedTuple):
    """A fact that can be looked at: its number in docs/protocol.md, what it is about, what is expected, who looks, and
    for how many seconds at most. `beside` is looked at while others are."""

    number: str
    name: str
    expected: str
    look: Look
    limit: float = 60.0
    beside: bool = False


FACTS = (
    Fact("C15", "listing", "30 of 30 listings show the runtime", lender_facts.listing, 150.0, beside=True),
    Fact("C19", "keep-alive ping", "taken, and seldom answered", lender_facts.ping, 30.0, beside=True),
    Fact("C29", "proxy token", "told to live 3600 s; a JWT for this runtime", access_facts.token, 10.0),
    Fact("C30", "stale token", "HTTP 401, 403 or 404", access_facts.stale_token),
    Fact("C38", "image", ", ".join(f"{a} {b}" for a, b in kernel_facts.IMAGE.items()), kernel_facts.image),
    Fact("C36", "working folder", "kernels start in /content", kernel_facts.folder),
    Fact("C37", "kernel's transport", "ipc", kernel_facts.transport),
    Fact("C39", "second kernel", "starts beside the first", kernel_facts.second_kernel),
    Fact("C60", "round trips", "below 1 s", socket_facts.round_trips),
    Fact("C35", "v1 subprotocol", "not agreed to", socket_facts.subprotocol),
    Fact("C35", "binary frames up", "pass", socket_facts.binary_up),
    Fact("C35", "binary frames down", "pass", socket_facts.binary_down),
    Fact("J22", "largest frame up", "9 MiB passes; 11 MiB: closed (1009)", socket_facts.largest_up, 100.0),
    Fact("C35", "largest frame down", "8 MiB passes", socket_facts.largest_down, 100.0),
    Fact("J1", "message rate", "limited to 1000 a second, and said", kernel_facts.message_rate),
    Fact("C37", "data rate", "not limited", kernel_facts.data_rate),
    Fact("C34", "WebSocket ping", "answered", socket_facts.pong, 40.0),
    Fact("C40", "/files", "sends pieces of files", server_facts.files),
    Fact("C40", "contents API", "writes and reads, hidden names too", server_facts.contents),
    Fact("J31", "longest body", "24 MiB pass", server_facts.bodies, 100.0),
    Fact("C42", "/api/terminals", "unknown; taken to be missing", server_facts.terminals),
    Fact("C41", "/colab/tty", "a shell; a second connection detaches the first", server_facts.own_terminal),
    Fact("C45", "memory and GPUs", "as nvidia-smi has them", server_facts.hardware),
    Fact("C59", "/_proxy/PORT/", "reaches the port", access_facts.port_path),
    Fact("C32", "address of a port", "unknown", access_facts.port_address),
)
SILENCE = Fact("C34", "silent sockets", "dead after about 80 s without pings, alive with", socket_facts.idle, LONG)
# With these kernels of the check are gone, so that the tool's own way works where one kernel is allowed.
LAST = (
    Fact("C60", "throughput", "4 MiB within a minute", access_facts.throughput, 150.0),
    Fact("C46", "release from inside", "the runtime ends, and leaves the listing", lender_facts.release, 90.0),
)
BINARY = ("binary frames up", "binary frames down")
LARGEST = ("largest frame up", "largest frame down")
NUMBERS = frozenset(fact.number for fact in (*FACTS, SILENCE, *LAST))


class _Look:
    """One fact being looked at, in a thread that is left alone when its time is over."""

    def __init__(self, fact: Fact, subject: Subject, limit: float) -> None:
        self._fact = fact
        self._subject = subject
        self._began = time.monotonic()
        self._limit = limit
        self._seen: Seen | None = None
        self._problem = ""
        self._ended: float | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._seen = self._fact.look(self._subject)
        except NotSeen as error:
            self._problem = str(error)
        except errors.Error as error:
            self._problem = why(error)
        except Exception as error:
            logs.current().warn("DOCTOR", f"{self._fact.name}: {type(error).__name__}: {error}")
            self._problem = f"a {type(error).__name__} here: lecoder-cgpu debug tail has more"
        self._ended = time.monotonic()

    def result(self) -> FieldFact:
        """What was seen, once it was, or once the time is over."""
        while self._thread.is_alive() and (left := self._began + self._limit - time.monotonic()) > 0:
            self._thread.join(min(left, 0.2))  # so that a signal is heard everywhere
        seconds = round((self._ended or time.monotonic()) - self._began, 2)
        found = FieldFact(number=self._fact.number, fact=self._fact.name, expected=self._fact.expected, will=UNSEEN)
        found.seconds = seconds
        seen = self._seen
        if seen is not None:
            found.state = "expected" if seen.expected else "different"
            found.seen, found.will = seen.text, seen.will
        elif self._problem:
            found.why = self._problem
        else:
            found.why = f"no end within {self._limit:.0f} s"
        return found


def chosen(only: Collection[str]) -> frozenset[str]:
    """The numbers of facts to look at, all without a choice.

    Raises:
        errors.UsageError: there is no such fact.
    """
    for number in only:
        if number not in NUMBERS:
            known = ", ".join(sorted(NUMBERS, key=lambda item: (item[0], int(item[1:]))))
            raise errors.UsageError(
                f"the field check has no fact {number!r} (it has {known})",
                hint="lecoder-cgpu doctor --field --facts C35",
            )
    return frozenset(only) or NUMBERS


def examine(
    session: Session,
    plan: Plan,
    *,
    own: bool,
    only: frozenset[str],
    progress: Callable[[str], None],
    partly: Callable[[FieldCheck], None] = lambda document: None,
) -> FieldCheck:
    """Look at the facts with these numbers.

    Args:
        session: its runtime is used; it is started if need be.
        own: the runtime is there for the check alone, which may try to end it.
        progress: told what is looked at.
        partly: given what was seen so far, when the user interrupts it.

    Raises:
        errors.Error: the runtime cannot be reached at all.
    """
    session.server.kernels()  # the runtime is there, and the token is fresh
    began = time.monotonic()
    document = FieldCheck(version=__version__, date=now()[:10], own=own, facts=[])
    document.accelerator = plain(session.record.runtime.accelerator)
    subject = Subject(session, plan, own=own)
    try:
        _look_at_all(document.facts, subject, only, began, progress)
    except KeyboardInterrupt:
        document.interrupted = True
        partly(_finished(document, began))
        raise
    finally:
        subject.close()
    return _finished(document, began)


def _finished(document: FieldCheck, began: float) -> FieldCheck:
    document.seconds = round(time.monotonic() - began, 1)
    order = [fact.name for fact in (*FACTS, SILENCE, *LAST)]
    document.facts.sort(key=lambda item: order.index(item.fact))
    return document


def _look_at_all(
    found: list[FieldFact], subject: Subject, only: frozenset[str], began: float, progress: Callable[[str], None]
) -> None:
    def started(fact: Fact, whole: float = WHOLE) -> _Look:
        left = max(whole - (time.monotonic() - began), 0.0)
        return _Look(fact, subject, min(fact.limit, left))

    wanted = [fact for fact in FACTS if fact.number in only]
    beside = {fact.name: started(fact) for fact in wanted if fact.beside}
    for fact in wanted:
        if not fact.beside:
            progress(fact.name)
            found.append(started(fact).result())
    if subject.plan.long and SILENCE.number in only:
        progress(SILENCE.name)
        found.append(_Look(SILENCE, subject, LONG).result())
    whole = WHOLE + (LONG if subject.plan.long else 0.0)
    for name, look in beside.items():
        progress(name)
        found.append(look.result())
    _clean(subject)
    for fact in LAST:
        if fact.number in only:
            progress(fact.name)
            found.append(started(fact, whole).result())
    if not subject.own:
        _clean(subject)
        _keep(subject, found)


def _keep(subject: Subject, found: list[FieldFact]) -> None:
    """Keep with the session what its code and files need to know: whether binary frames pass both ways, and how large
    messages may be (protocol C35, J22)."""
    seen = {item.fact for item in found if item.state != "not seen"}
    if subject.largest or seen.issuperset(LARGEST):
        subject.session.note_message_size(min(subject.largest, default=None))
    states = [item.state for item in found if item.fact in BINARY and item.state != "not seen"]
    if len(states) == len(BINARY):
        subject.session.note_binary(all(state == "expected" for state in states))


def _clean(subject: Subject) -> None:
    """Remove what the check has made on the runtime."""

    def look(subject: Subject) -> Seen:
        if not subject.own:
            with contextlib.suppress(NotSeen):
                subject.compute(server_facts.REMOVE)
        subject.clean()
        return Seen("", True, "")

    _Look(Fact("", "cleaning", "", look), subject, 30.0).result()
