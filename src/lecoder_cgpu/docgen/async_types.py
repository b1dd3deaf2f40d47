"""The types of the asynchronous library, for type checkers: `aio.pyi`, made from the synchronous classes."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator

from .. import results
from ..api.client import Client
from ..api.job import Job
from ..api.session import Session

HEAD = '''"""The library under asyncio or trio. Made by `lecoder_cgpu.reference write` from the synchronous classes."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, Literal, Self

from ..files.transfer import Progress
from ..jupyter import messages
from ..results import {names}
from .client import Client
from .job import Job
from .limits import Never
from .session import OnBytes, Session

__all__ = ["AsyncClient", "AsyncJob", "AsyncSession", "AsyncStream"]
'''
STREAM = '''
class AsyncStream:
    """The outputs of a run while it goes on; `result` is awaited. Leaving `async with` early interrupts the code."""

    def __aiter__(self) -> AsyncIterator[messages.Event]: ...
    async def __anext__(self) -> messages.Event: ...
    async def __aenter__(self) -> Self: ...
    async def __aexit__(self, *_: object) -> None: ...
    async def aclose(self) -> None: ...
    async def result(self) -> Run: ...
'''
OWN = {"Session": "AsyncSession", "Job": "AsyncJob"}


def stub() -> str:
    """The content of the file."""
    body = "\n".join("\n".join(_class(kind)) + "\n" for kind in (Client, Session, Job)) + STREAM
    names = [name for name in results.__all__ if re.search(rf"\b{name}\b", body) and name != "Progress"]
    return HEAD.format(names=", ".join(names)) + "\n" + body


def _class(kind: type) -> Iterator[str]:
    yield f"class Async{kind.__name__}:"
    yield f'    """`{kind.__name__}`, awaited."""\n'
    yield f"    blocking: {kind.__name__}"
    if kind is Client:
        yield f"    def __init__{_signature(Client.__init__)}: ..."
    if kind is not Job:
        yield "    async def __aenter__(self) -> Self: ..."
        yield "    async def __aexit__(self, *_: object) -> None: ..."
    if kind is Session:
        yield "    fresh: bool | None"
        yield "    def stream(self, code: str, *, timeout: float | None = None) -> AsyncStream: ..."
    if kind is Job:
        yield "    session: Session\n    id: str"
    for name in dir(kind):
        found = inspect.getattr_static(kind, name)
        if name.startswith("_") or name in ("stream", "fresh"):
            continue
        if isinstance(found, property):
            yield f"    @property\n    def {name}(self) -> {found.fget.__annotations__['return']}: ..."
        elif inspect.isfunction(found):
            yield f"    async def {name}{_signature(found)}: ..."


def _signature(function: object) -> str:
    """As it is written in the source, with the asynchronous classes in the place of the others."""
    text = re.sub(r"(: |-> )'([^']*)'", r"\1\2", str(inspect.signature(function)))  # type: ignore[arg-type]
    before, arrow, after = text.rpartition(" -> ")
    for name, ours in OWN.items():
        after = re.sub(rf"\b{name}\b", ours, after)
    return before + arrow + after
