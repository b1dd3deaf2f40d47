"""What code in a kernel finds: the image, where it runs, how it is reached, how many kernels there may be, and what the
server leaves out of their output."""

from __future__ import annotations

from typing import Any

from ... import errors
from ...jupyter.messages import Message
from .subject import NAME, NotSeen, Seen, Subject, plain, why

IMAGE = {  # protocol C38
    "Python": "3.13.15",
    "ipykernel": "6.17.1",
    "jupyter_server": "2.20.0",
    "jupyter_client": "7.4.9",
    "pyzmq": "26.2.1",
    "tornado": "6.5.7",
    "ipython": "7.34.0",
    "traitlets": "5.7.1",
}
VERSIONS = f"""
import platform
from importlib.metadata import version
answer = {{"Python": platform.python_version()}}
for name in {[name for name in IMAGE if name != "Python"]!r}:
    try:
        answer[name] = version(name)
    except Exception:
        answer[name] = "none"
"""
TRANSPORT = """
import json
from ipykernel.connect import get_connection_file
with open(get_connection_file()) as file:
    answer = json.load(file).get("transport")
"""
FOLDER = "import os; answer = os.getcwd()"
SEND = """
import time
from IPython import get_ipython
kernel = get_ipython().kernel
def send(kind, content, buffers=None):
    kernel.session.send(kernel.iopub_socket, kind, content, parent={}, ident=kind.encode(), buffers=buffers)
answer = 1
"""
MANY, LARGE = 4500, 6  # messages within 3 s, where 3000 may pass; messages of 1 MB, where 3 MB may
# The kernel's own queue must not be what drops some of them (protocol J2).
FLOOD = f"""{SEND}
import zmq
thread = kernel.iopub_thread
thread.schedule(lambda: thread.socket.setsockopt(zmq.SNDHWM, {MANY * 2}))
for number in range({MANY}):
    send("stream", {{"name": "stdout", "text": "."}})
    if number % 30 == 29:
        time.sleep(0.01)
"""
LOAD = f"""{SEND}
for number in range({LARGE}):
    send("stream", {{"name": "stdout", "text": "." * 1000000}})
    time.sleep(0.05)
"""
QUIET = 2.0  # seconds without a message after which no more are expected
FLOOD_LIMIT = 40.0  # seconds
WINDOW = 3.0  # seconds over which servers count


def image(subject: Subject) -> Seen:
    """The versions on the machine (protocol C38)."""
    found = subject.compute(VERSIONS)
    if not isinstance(found, dict):
        raise NotSeen("the answer makes no sense")
    versions = {name: plain(found.get(name, "none")) for name in IMAGE}
    text = ", ".join(f"{name} {version}" for name, version in versions.items())
    same = versions == IMAGE
    will = "tested with these versions" if same else "works as before; versions below Python 3.8 are refused"
    return Seen(text, same, will)


def folder(subject: Subject) -> Seen:
    """Where kernels start (protocol C36)."""
    found = subject.compute(FOLDER)
    inside = isinstance(found, str) and found.rstrip("/").endswith("/content")
    shown = "/content" if found == "/content" else "a folder called content" if inside else "another folder"
    return Seen(f"kernels start in {shown}", inside, "relative paths start there")


def transport(subject: Subject) -> Seen:
    """How kernels are reached from beside them (protocol C37)."""
    found = plain(subject.compute(TRANSPORT))
    known = found in ("ipc", "tcp")
    return Seen(found, found == "ipc", "records kernels over it" if known else "cannot record kernels")


def second_kernel(subject: Subject) -> Seen:
    """Whether a kernel may run beside another (protocol C39)."""
    subject.kernel  # noqa: B018 - the one that it is beside
    beside = len(subject.server.kernels())
    try:
        started = subject.start_kernel(f"{NAME}-2")
    except errors.Error as error:
        will = "runs code in the kernel that serves commands, jobs and files, or these in the kernel of the session"
        return Seen(f"refused beside {beside}: {why(error)}", False, will)
    try:
        listed = {kernel.id for kernel in subject.server.kernels()}
    finally:
        subject.end_kernel(started)
    there = started in listed and subject.kernel in listed
    text = f"starts beside {beside}" if there else "another one ended for it"
    return Seen(text, there, "serves commands, jobs and files from a kernel of their own")


def message_rate(subject: Subject) -> Seen:
    """What the server leaves out of many messages (protocol J1)."""
    will = "reads the rest of a run's output from the recording on the runtime"
    return _rate(subject, FLOOD, ".", MANY, will, limited=True)


def data_rate(subject: Subject) -> Seen:
    """What it leaves out of much output (protocol C37)."""
    will = "reads what is left out from the recording on the runtime"
    return _rate(subject, LOAD, "." * 1_000_000, LARGE, will, limited=False)


def _rate(subject: Subject, code: str, text: str, sent: int, will: str, *, limited: bool) -> Seen:
    """What comes of this many messages with that text, where two thirds of them may come in 3 s if there is a limit,
    and whether that is as it should be if it is `limited`."""
    with subject.line() as line:
        found = line.ask(code, linger=QUIET, wait=FLOOD_LIMIT)
    came = [at for message, at in zip(found.messages, found.times, strict=True) if _text(message) == text]
    if found.closed is not None:
        raise NotSeen(f"the socket is closed ({found.closed})")
    if found.value is None and not came:
        raise NotSeen("code in the kernel gave no answer")
    if any(map(_is_notice, found.messages)):
        return Seen(f"in force: {len(came)} of {sent} messages came, and the server said so", limited, will)
    if len(came) < sent:
        return Seen(f"{len(came)} of {sent} messages came, and nothing was said", False, will)
    if came[-1] - came[0] > WINDOW:
        raise NotSeen("the messages came too slowly for a limit to show")
    return Seen(f"not in force: all {sent} messages came", not limited, will)


def _is_notice(message: Message) -> bool:
    return "rate exceeded" in _text(message) and message.content.get("name") == "stderr"


def _text(message: Message) -> str:
    text: Any = message.content.get("text") if message.type == "stream" else ""
    return text if isinstance(text, str) else ""
