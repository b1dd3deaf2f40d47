"""Faults on demand, and the log of requests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any


@dataclass
class Request:
    """One request as the fake saw it. `status` is None until it is answered, and stays None if it never is."""

    method: str
    role: str  # accounts, oauth, apis, tunnel, pa, public or proxy
    path: str
    query: dict[str, str]
    headers: dict[str, str] = field(repr=False)
    at: float = 0.0  # by the virtual clock
    vm: str | None = None
    status: int | None = None

    @property
    def line(self) -> str:
        return f"{self.method} {self.path}"

    def header(self, name: str) -> str | None:
        """A header's value; the case of its name does not matter."""
        return next((value for key, value in self.headers.items() if key.lower() == name.lower()), None)


@dataclass
class Fault:
    """A reply, a delay or a silence instead of the true answer, or after it.

    Args of `FakeColab.fail` have the same names. `times` is how often it happens; None means until it is removed.
    """

    route: str  # "METHOD PATH" or "PATH", with * and ?; "ROLE:" in front restricts it to a host
    times: int | None = 1
    status: int | None = None
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0  # real seconds before anything else
    hang: bool = False  # never answer
    drop: bool = False  # close the connection instead of answering
    lose: bool = False  # act, and then close the connection instead of answering
    edit: Callable[[Any], Any] | None = None  # change the JSON document of the true answer
    patch: dict[str, Any] | None = None  # merge this into the true answer; null removes a key
    raw: Callable[[bytes], bytes] | None = None  # change the bytes of the true answer
    vm: str | None = None  # only requests about this endpoint
    query: dict[str, str] | None = None  # only requests that have these
    hits: int = 0

    def matches(self, request: Request) -> bool:
        if self.times is not None and self.hits >= self.times:
            return False
        if self.vm is not None and self.vm != request.vm:
            return False
        if any(request.query.get(key) != value for key, value in (self.query or {}).items()):
            return False
        role, found, route = self.route.partition(":")
        if found and "/" not in role and " " not in role:
            if role != request.role:
                return False
        else:
            route = self.route
        method, found, path = route.partition(" ")
        if not found:
            method, path = "*", route
        return fnmatchcase(request.method, method) and fnmatchcase(request.path, path)

    def changed(self, document: Any) -> Any:
        """The document that the client gets."""
        if self.edit is not None:
            document = self.edit(document)
        return merge(document, self.patch) if self.patch is not None else document


def merge(document: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, dict):
        return patch
    result = dict(document) if isinstance(document, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge(result.get(key), value)
    return result


NONE = Fault("", times=0)


class Faults:
    """The active faults, in the order in which they were added; a request meets the first that matches."""

    def __init__(self) -> None:
        self.queue: list[Fault] = []

    def add(self, fault: Fault) -> Fault:
        self.queue.append(fault)
        return fault

    def remove(self, fault: Fault) -> None:
        self.queue = [other for other in self.queue if other is not fault]

    def take(self, request: Request) -> Fault:
        """The fault that this request meets, or `NONE`."""
        for fault in self.queue:
            if fault.matches(request):
                fault.hits += 1
                return fault
        return NONE

    def left(self) -> list[Fault]:
        """The faults with a number of times that have not all happened."""
        return [fault for fault in self.queue if fault.times is not None and fault.hits < fault.times]
