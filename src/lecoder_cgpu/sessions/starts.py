"""Whether a command is about to start a runtime that costs: asked before, so that what must fail fails for nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..backends.protocol import RuntimeRequest

if TYPE_CHECKING:
    from ..store.session_store import Record
    from .manager import SessionManager


def starts(manager: SessionManager, key: str | None, wants: RuntimeRequest) -> bool:
    """Whether `SessionManager.session` would give a session whose leased runtime has to be asked for. Asks nobody.

    Raises:
        errors.UsageError, errors.NotFoundError, errors.ConfigError: as `session` does.
    """
    if key is not None:
        record = manager.store.find(key)
    else:
        found = (
            None if wants.new else manager.pick(manager.store.records(), manager.completed(wants, lambda text: None))
        )
        if found is None:
            return manager.leased(manager.chosen) is not None
        record = found
    if manager.leased(record.backend) is None:
        return False
    return not record.runtime.endpoint or manager.hold(record).known_gone()


def free_name(base: str, records: list[Record]) -> str:
    """A name that no session has: `base`, or with a number behind."""
    taken = {record.name for record in records}
    name, number = base, 2
    while name in taken:
        name, number = f"{base}-{number}", number + 1
    return name
