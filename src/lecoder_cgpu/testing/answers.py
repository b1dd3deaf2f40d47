"""Answers that the fake's proxy gives instead of a server, and those of a server that a fault changes."""

from __future__ import annotations

import asyncio
import contextlib
import json
from http import HTTPStatus

from .faults import Fault, Request

PIECE = 1 << 18


async def answer(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    log: Request,
    status: int,
    body: bytes = b"",
    headers: dict[str, str] | None = None,
) -> None:
    """Answer instead of the server."""
    log.status = status
    phrase = HTTPStatus(status).phrase
    shown = {"Content-Type": "text/html", **(headers or {})}
    lines = [f"HTTP/1.1 {status} {phrase}", f"Content-Length: {len(body)}", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in shown.items()]
    writer.write(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body)
    await writer.drain()
    writer.write_eof()
    # To close now would reset the connection while the client still sends its body, and lose our answer.
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(discard(reader), 2)


async def discard(reader: asyncio.StreamReader) -> None:
    while await reader.read(PIECE):
        pass


async def rewritten(
    answer: asyncio.StreamReader, writer: asyncio.StreamWriter, log: Request, fault: Fault, *, starting: bool
) -> None:
    """Pass on an answer that a fault changes or drops."""
    head, _, body = (await answer.read(-1)).partition(b"\r\n\r\n")
    if fault.lose:
        writer.transport.abort()
        return
    log.status = int(head.split(b" ", 2)[1])
    if (fault.edit is not None or fault.patch is not None or starting) and b"json" in head.lower() and body:
        start = body.index(b"\n") + 1 if body.startswith(b")]}'") else 0  # behind the prefix, where there is one
        content = json.loads(body[start:])
        body = body[:start] + json.dumps(fault.changed(_starting(content) if starting else content)).encode()
    if fault.raw is not None:
        body = fault.raw(body)
    kept = [line for line in head.split(b"\r\n") if not line.lower().startswith((b"content-length:", b"etag:"))]
    writer.write(b"\r\n".join([*kept, b"Content-Length: %d" % len(body)]) + b"\r\n\r\n" + body)
    await writer.drain()


def _starting(content: object) -> object:
    """The same, with every kernel still starting."""
    if isinstance(content, list):
        return [_starting(item) for item in content]
    if isinstance(content, dict):
        changed = {key: _starting(value) if key == "kernel" else value for key, value in content.items()}
        return changed | ({"execution_state": "starting"} if "execution_state" in changed else {})
    return content
