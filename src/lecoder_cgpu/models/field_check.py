"""The document of `doctor --field`."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import UNSET, Struct, field

from .base import Optional
from .runs import Release


class FieldFact(Struct, kw_only=True):
    """One fact of docs/protocol.md, by its number: what is `expected`, what was `seen`, and what the tool `will` do
    with such a runtime. `state` compares the two; where nothing was seen, `why` says why not."""

    number: str
    fact: str
    expected: str
    state: Literal["expected", "different", "not seen"] = "not seen"
    seen: str | Optional = UNSET
    why: str | Optional = UNSET
    will: str
    seconds: float = 0.0


class FieldCheck(Struct, kw_only=True):
    """`doctor --field`: how a real runtime behaves. Nothing in it names an account, a runtime or an address.

    `accelerator` is that of the runtime, `own` whether it was started for the check, `seconds` how long the facts took.
    `interrupted`: the user ended it, and the facts are those that were looked at until then.
    `release` is what became of a runtime of its own, `report` the file that was written.
    """

    status: Literal["ok"] = "ok"
    error_code: int = field(name="errorCode", default=0)
    version: str
    date: str
    accelerator: str = "none"
    own: bool
    seconds: float = 0.0
    facts: list[FieldFact]
    interrupted: bool | Optional = UNSET
    release: Release | Optional = UNSET
    report: str | Optional = UNSET


DOCUMENTS: dict[str, Any] = {"field-check": FieldCheck}
