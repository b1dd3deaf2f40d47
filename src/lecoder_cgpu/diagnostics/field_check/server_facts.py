"""What the runtime's server answers: files, contents, terminals, hardware."""

from __future__ import annotations

import base64
import contextlib
import json
import time
from typing import Any

from ... import errors
from ...net.addresses import segment
from .subject import NAME, PATIENCE, NotSeen, Seen, Subject, parsed, plain, size, why

FILE = f"{NAME}.bin"
CONTENT = bytes(range(251)) * 400
BODIES = (48 << 10, 768 << 10, 6 << 20, 18 << 20)  # bytes of a file; as base64 in a body a third more
BODY_LIMIT = 45.0  # seconds for one body
WRITE = f"""
with open({FILE!r}, "wb") as file:
    file.write(bytes(range(251)) * 400)
answer = 1
"""
REMOVE = f"""
import os
for name in ({FILE!r}, {NAME + ".txt"!r}, {"." + NAME!r}):
    if os.path.exists(name):
        os.remove(name)
answer = 1
"""
SMI = """
import subprocess
try:
    done = subprocess.run(["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader,nounits"],
                          capture_output=True, text=True, timeout=15)
    answer = [line.split(", ") for line in done.stdout.splitlines()] if done.returncode == 0 else []
except OSError:
    answer = []
"""


def files(subject: Subject) -> Seen:
    """Whether /files is there, and has ranges (protocol C40, J30)."""
    subject.compute(WRITE)
    answer = subject.ask("GET", f"files/{subject.address(FILE)}", headers={"Range": "bytes=1000-2999"})
    otherwise = "reads files through the helper"
    if answer.status == 206 and answer.data == CONTENT[1000:3000]:
        return Seen("sends pieces of files", True, "reads large files from it, several pieces at once")
    if answer.status == 200 and answer.data == CONTENT:
        return Seen("sends whole files only", False, otherwise)
    if answer.status in (200, 206):
        return Seen(f"HTTP {answer.status} with something else", False, otherwise)
    return Seen(f"HTTP {answer.status}", False, otherwise)


def contents(subject: Subject) -> Seen:
    """Whether the contents API writes and reads, also hidden names (protocol C40, C36)."""
    body = {"type": "file", "format": "text", "content": "lecoder"}
    status = _put(subject, f"{NAME}.txt", body)
    will = "uses it where the helper does not run"
    if status not in (200, 201):
        return Seen(f"HTTP {status}", False, "does without it")
    read = subject.ask("GET", f"api/contents/{subject.address(NAME + '.txt')}?content=1")
    if read.status != 200 or parsed(read.data).get("content") != "lecoder":
        return Seen(f"writes; reading gives HTTP {read.status}", False, will)
    hidden = _put(subject, f".{NAME}", body)
    text = "hidden names too" if hidden in (200, 201) else f"hidden names give HTTP {hidden}"
    return Seen(f"writes and reads; {text}", hidden in (200, 201), will)


def bodies(subject: Subject) -> Seen:
    """How long the body of a request may be (protocol J31)."""
    passed, failed, what = 0, 0, ""
    for number in BODIES:
        content = base64.b64encode(bytes(number)).decode()
        try:
            status = _put(subject, f"{NAME}.txt", {"type": "file", "format": "base64", "content": content}, BODY_LIMIT)
            what = "" if status in (200, 201) else f"HTTP {status}"
        except NotSeen as error:
            what = str(error)
        if what:
            failed = number
            break
        passed = number
    parts = [f"a body of {size(passed * 4 // 3)} passes"] if passed else []
    parts += [f"a body of {size(failed * 4 // 3)}: {what}"] if failed else []
    will = "sends up to 24 MiB of a file at once" if not failed else "halves what it sends at once after each 413"
    return Seen("; ".join(parts), not failed, will)


def _put(subject: Subject, name: str, body: dict[str, str], limit: float = PATIENCE) -> int:
    return subject.ask("PUT", f"api/contents/{subject.address(name)}", json_body=body, limit=limit).status


def terminals(subject: Subject) -> Seen:
    """Whether Jupyter's terminals are there (protocol C42)."""
    answer = subject.ask("POST", "api/terminals", json_body={})
    if answer.status not in (200, 201):
        return Seen(f"HTTP {answer.status}", answer.status == 404, "connect: Colab's own terminal is taken instead")
    with contextlib.suppress(NotSeen, errors.UnexpectedAnswer):
        subject.ask("DELETE", f"api/terminals/{segment(str(parsed(answer.data).get('name')))}")
    return Seen("start a shell", True, "connect: each connection has a shell of its own")


def own_terminal(subject: Subject) -> Seen:
    """Colab's own terminal, and what a second connection does to the first (protocol C41)."""
    if not subject.own:
        raise NotSeen("it would take the terminal from whoever uses it")
    will = "connect: uses it where there is nothing else, and says so when another connection takes it"
    try:
        first = subject.server.open_socket("colab/tty", timeout=PATIENCE)
    except errors.Error as error:
        return Seen(why(error), False, "connect: needs Jupyter's terminals, or -m kernel")
    try:
        first.send(json.dumps({"cols": 80, "rows": 24}))
        if _text(first, PATIENCE) is None:
            return Seen("opens, and shows nothing", False, will)
        second = subject.server.open_socket("colab/tty", timeout=PATIENCE)
        try:
            second.send(json.dumps({"cols": 80, "rows": 24}))
            detached = _ends(first, PATIENCE / 4)
        finally:
            second.close()
    except errors.Error as error:
        return Seen(f"opens, then {why(error)}", False, will)
    finally:
        first.close()
    text = "a shell; a second connection " + ("detaches the first" if detached else "leaves the first")
    return Seen(text, detached, will)


def _text(socket: Any, limit: float) -> str | None:
    frame = socket.receive(limit)
    data = None if frame is None else parsed(frame).get("data")
    return data if isinstance(data, str) else None


def _ends(socket: Any, limit: float) -> bool:
    """Whether a terminal's connection is told within `limit` seconds that it was detached, or is closed."""
    deadline = time.monotonic() + limit
    while (left := deadline - time.monotonic()) > 0:
        try:
            if "[detached" in (_text(socket, left) or ""):
                return True
        except errors.ConnectionFailed:
            return True
    return False


def hardware(subject: Subject) -> Seen:
    """What the runtime tells of its GPUs and memory (protocol C45)."""
    backend = subject.session.backend
    try:
        found = backend.machine(subject.session.record, subject.endpoint)
    except errors.Error as error:
        return Seen(why(error), False, "asks the helper on the runtime")
    if found is None:
        raise NotSeen("it is not asked for here")
    told = [f"{plain(gpu.name)} {_mib(gpu.memory)}" for gpu in found.gpus]
    there = _smi(subject)
    text = f"memory {_mib(found.host.memory)}; GPUs: {', '.join(told) or 'none'}"
    text += f"; nvidia-smi: {', '.join(there) or 'none'}"
    same = len(told) == len(there)
    return Seen(text, same, "shows it" if same else "asks the helper on the runtime, too")


def _mib(memory: Any) -> str:
    total = getattr(memory, "total", None)
    return "of unknown size" if total is None else plain(total)


def _smi(subject: Subject) -> list[str]:
    try:
        rows = subject.compute(SMI)
    except NotSeen:
        return []
    rows = rows if isinstance(rows, list) else []
    return [" ".join(plain(cell) for cell in row) + " MiB" for row in rows[:16] if isinstance(row, list)]
