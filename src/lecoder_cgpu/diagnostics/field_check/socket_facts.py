"""What passes on a kernel's socket: binary and large frames, the v1 subprotocol, pings, silence."""

from __future__ import annotations

import time
from statistics import median

from ... import errors
from ...jupyter.messages import V1_SUBPROTOCOL, Message
from .kernel_facts import SEND
from .subject import NAME, Answer, NotSeen, Seen, Subject, size

KIND = "lecoder_field"  # the type of messages that our code publishes
UPWARDS = (64 << 10, 256 << 10, 1 << 20, 4 << 20, 9 << 20, 11 << 20)  # bytes; servers take 10 MiB
DOWNWARDS = (64 << 10, 256 << 10, 1 << 20, 8 << 20)
BINARY = "files go as binary frames in a session that was looked at, else as text"
LARGE_LIMIT = 30.0  # seconds for one large frame
LATE = 3.0  # seconds that a message may come after the reply
PONG = 10.0
TRIPS = 15


def _lost(answer: Answer) -> str:
    """What became of a frame without an answer."""
    return f"the socket is closed ({answer.closed})" if answer.closed is not None else "no answer"


def binary_up(subject: Subject) -> Seen:
    """Binary frames to the runtime (protocol C35). A kernel answers in order, so what has no answer when a later
    question has one is lost."""
    with subject.line() as line:
        request = line.request(buffers=(bytes(1000),))
        answer = line.ask(before=request)
    if request.msg_id in answer.replied:
        return Seen("pass", True, BINARY)
    return Seen(_swallowed(answer), False, "sends files as text, which is a third more")


def _swallowed(answer: Answer) -> str:
    return "are swallowed" if answer.closed is None and answer.value is not None else _lost(answer)


def binary_down(subject: Subject) -> Seen:
    """Binary frames from the runtime (protocol C35)."""
    content = bytes(range(250))
    with subject.line() as line:
        answer = line.ask(f"{SEND}\nsend({KIND!r}, {{}}, [bytes(range(250))])", until=_is_ours, linger=LATE)
    for message in filter(_is_ours, answer.messages):
        if [bytes(part) for part in message.buffers] == [content]:
            return Seen("pass", True, BINARY)
        return Seen("come without their binary part", False, "takes files as text")
    return Seen(_swallowed(answer), False, "takes files as text, which is a third more")


def _is_ours(message: Message) -> bool:
    return message.type == KIND


def subprotocol(subject: Subject) -> Seen:
    """Whether v1 is agreed to, and spoken (protocol C35)."""
    will = "does not offer it to Colab"
    with subject.line(subprotocols=(V1_SUBPROTOCOL,)) as line:
        if line.socket.subprotocol != V1_SUBPROTOCOL:
            return Seen("not agreed to", True, will)
        answer = line.ask(wait=LATE * 1.5)
        if answer.value is not None:
            return Seen("agreed to and spoken", False, will)
    return Seen(f"agreed to and not spoken: {_lost(answer)}", False, will)


def largest_up(subject: Subject) -> Seen:
    """How long a frame to the runtime may be (protocol J22)."""
    passed, failed, what = 0, 0, ""
    for number in UPWARDS:
        with subject.line() as line:
            answer = line.ask(padding=number, wait=LARGE_LIMIT)
        if answer.value is None:
            failed, what = number, _lost(answer)
            break
        passed = number
    will = "sends at most 10 MiB in a message"
    if failed and failed < UPWARDS[-1]:
        subject.largest.append(passed)
        will = "sends smaller parts: half as much each time that a socket is closed with 1009"
    return Seen(_span(passed, failed, what), passed == UPWARDS[-2] and failed == UPWARDS[-1], will)


def largest_down(subject: Subject) -> Seen:
    """How long a frame from the runtime may be (protocol C35)."""
    passed, failed, what = 0, 0, ""
    for number in DOWNWARDS:
        with subject.line() as line:
            code = f"{SEND}\nsend({KIND!r}, {{'text': 'x' * {number}}})"
            answer = line.ask(code, until=_is_ours, linger=LARGE_LIMIT / 2, wait=LARGE_LIMIT)
        if not any(map(_is_ours, answer.messages)):
            failed, what = number, _lost(answer)
            break
        passed = number
    if failed:
        subject.largest.append(passed)
    will = (
        "asks for files in parts" if not failed else "asks for smaller parts; a run's output is read from the recording"
    )
    return Seen(_span(passed, failed, what), not failed, will)


def _span(passed: int, failed: int, what: str) -> str:
    if not failed:
        return f"{size(passed)} passes"
    return f"{size(passed)} passes; {size(failed)}: {what}" if passed else f"not even {size(failed)}: {what}"


def pong(subject: Subject) -> Seen:
    """Whether a WebSocket's ping is answered (protocol C34)."""
    with subject.line() as line:
        try:
            took = line.socket.ping(PONG)
        except errors.ConnectionFailed:
            return Seen(f"the socket is closed ({line.socket.close_code})", False, "connects again")
    if took is None:
        return Seen(f"not answered within {PONG:.0f} s", False, "takes the connection for dead, and connects again")
    return Seen("answered", True, "pings every 20 s")


def round_trips(subject: Subject) -> Seen:
    """How long a question to the kernel and a request to the server take (protocol C60)."""
    with subject.line() as line:
        asked = [line.ask() for _ in range(TRIPS)]
    if any(answer.value is None for answer in asked):
        raise NotSeen(_lost(asked[-1]))
    began = time.monotonic()
    for _ in range(TRIPS // 3):
        subject.server.version()
    request = (time.monotonic() - began) / (TRIPS // 3)
    kernel = median(answer.seconds for answer in asked)
    text = f"kernel {1000 * kernel:.0f} ms, HTTP {1000 * request:.0f} ms"
    return Seen(text, kernel < 1, "sends several requests at once")


def idle(subject: Subject) -> Seen:
    """After how much silence a socket without pings is dead, and whether one with pings lives on (protocol C34)."""
    silences = subject.plan.silences
    with subject.line(kernel=_beside(subject)) as kept, subject.line(pings=False) as line:
        lived, died = 0.0, 0.0
        for seconds in silences:
            subject.pause(seconds)
            if line.ask(wait=subject.plan.pong).value is None:
                died = seconds
                break
            lived = seconds
        theirs = line.socket.pinged
        pinging = kept.ask(wait=subject.plan.pong).value is not None
    text = f"without pings alive after {lived:g} s of silence" if lived else "without pings"
    text += f", dead after {died:g} s" if died else ""
    text += f"; the server itself has pinged {theirs} times" if theirs else ""
    text += "; with pings " + ("alive to the end" if pinging else "dead as well")
    will = "pings every 20 s" if pinging else "connects again, and reads what it missed from the recording"
    return Seen(text, bool(died) and pinging, will)


def _beside(subject: Subject) -> str | None:
    """Another kernel, so that what one socket asks does not reach the other; None where there is none."""
    try:
        return subject.start_kernel(f"{NAME}-3")
    except (errors.Error, NotSeen):
        return None
