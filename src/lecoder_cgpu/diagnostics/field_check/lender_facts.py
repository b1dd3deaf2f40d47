"""What the lender answers: the keep-alive ping, the listing, and the end of a runtime that ends itself."""

from __future__ import annotations

import contextlib
import time

from ... import errors
from ...backends.protocol import Leased
from .subject import PATIENCE, NotSeen, Seen, Subject, why

NO_ANSWER = 9.0  # seconds; a ping that took so long had no answer
RELEASE = """
import os, urllib.request
address = os.environ.get("TBE_RUNTIME_ADDR")
answer = 0
if address:
    request = urllib.request.Request("http://" + address + "/unassign", data=b"", method="POST")
    answer = urllib.request.urlopen(request, timeout=20).status
"""


def _lender(subject: Subject) -> Leased:
    backend = subject.session.backend
    if not isinstance(backend, Leased):
        raise NotSeen("the runtime has no lender")
    return backend


def ping(subject: Subject) -> Seen:
    """Whether the keep-alive ping is taken, and answered (protocol C19, C20)."""
    began = time.monotonic()
    try:
        sent = _lender(subject).keep_alive(subject.session.record)
    except errors.Error as error:
        return Seen(why(error), False, "goes on pinging; an open kernel socket keeps the runtime alive as well")
    took = time.monotonic() - began
    if not sent:
        raise NotSeen("this service of the lender has no ping")
    text = "taken, and not answered" if took > NO_ANSWER else "answered"
    return Seen(text, True, "pings once a minute from the keeper; no answer is success")


def listing(subject: Subject) -> Seen:
    """Whether each look at the listing shows the runtime (protocol C15), with a fresh token (protocol C14)."""
    backend, plan, endpoint = _lender(subject), subject.plan, subject.session.record.runtime.endpoint
    shown = failed = addressed = 0
    for number in range(plan.polls):
        if number:
            subject.pause(plan.pace)
        backend.look_anew()
        try:
            row = next((row for row in backend.runtimes() if row.endpoint == endpoint), None)
        except errors.Error:
            failed += 1
            continue
        shown += row is not None
        addressed += row is not None and row.server is not None
    text = f"{shown} of {plan.polls} listings show the runtime"
    text += f", {failed} failed" if failed else ""
    text += f"; {shown - addressed} without its address and a token" if addressed < shown else ""
    will = "takes a runtime for lost when listings lack it for a minute and it does not answer"
    return Seen(text, shown == addressed == plan.polls, will)


def release(subject: Subject) -> Seen:
    """Whether the machine can end itself (protocol C46). The last thing that is tried."""
    if not subject.own:
        raise NotSeen("it would end the runtime of the session")
    with contextlib.suppress(errors.Error):
        subject.session.replace_helper()  # else it is looked for when the runtime is given back, which takes a minute
    with subject.line() as line:
        answer = line.ask(RELEASE, wait=PATIENCE * 1.5)
    if answer.value == 0:
        return Seen("the machine does not know how", False, "the keeper ends a runtime whose lease is over")
    said = f"HTTP {answer.value}" if isinstance(answer.value, int) else "no answer"
    backend, endpoint = _lender(subject), subject.session.record.runtime.endpoint
    began, missing = time.monotonic(), 0
    while time.monotonic() - began < subject.plan.gone_within and missing < 2:
        backend.look_anew()
        try:
            missing = 0 if any(row.endpoint == endpoint for row in backend.runtimes()) else missing + 1
        except errors.Error as error:
            raise NotSeen(f"the machine was asked ({said}); the listing: {why(error)}") from error
        if missing < 2:
            subject.pause(min(subject.plan.pace, 1.0))
    will = "ends a runtime whose lease is over from inside, also when nobody is there"
    if missing < 2:
        return Seen(f"{said}; still listed after {subject.plan.gone_within:.0f} s", False, will)
    return Seen("the runtime ends, and leaves the listing", True, will)
