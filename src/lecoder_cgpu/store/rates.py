"""What runtimes cost, as it was seen: `state/rates.json`, compute units an hour by kind of machine.

A lender tells only what all runtimes of the account cost together, so a rate is learned while one runtime is held. What
is stored is what nobody has to be asked for when a command starts or ends.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

import msgspec

from .. import errors
from ..system import atomic_files
from .session_store import Record

FILE = "rates.json"
Rates = dict[str, float]


def read(folder: Path) -> Rates:
    """The rates that are known; none where the file is missing or damaged."""
    try:
        content = atomic_files.read(folder / FILE)
        return {} if content is None else atomic_files.decode(content, Rates)
    except (errors.ConfigError, atomic_files.Damaged):
        return {}


def learn(folder: Path, record: Record, rate: float) -> None:
    """Note what the only runtime of an account costs. That this fails spoils no command."""
    known = read(folder)
    if rate <= 0 or known.get(kind(record)) == rate:
        return
    with contextlib.suppress(errors.ConfigError):
        atomic_files.write_atomic(folder / FILE, msgspec.json.encode({**known, kind(record): rate}))


def kind(record: Record) -> str:
    """The kind of machine that has one price."""
    ram = " high-ram" if record.allocation is not None and record.allocation.high_memory else ""
    return kind_of(record.backend, record.runtime.accelerator.upper()) + ram


def kind_of(backend: str, accelerator: str) -> str:
    """The kind of the usual machines with an accelerator."""
    return f"{backend} {accelerator}"


def wanted(record: Record) -> list[str]:
    """The kinds that a record may become, before its runtime is there; none where any accelerator may come."""
    allocation = record.allocation
    if allocation is None:
        return []
    names = ["NONE"] if allocation.variant == "DEFAULT" else allocation.accelerators
    ram = " high-ram" if allocation.high_memory else ""
    return [kind_of(record.backend, name) + ram for name in names]
