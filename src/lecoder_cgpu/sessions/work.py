"""What is at work on a session's runtime."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import errors
from ..system import logs

if TYPE_CHECKING:
    from ..store.session_store import Record
    from .manager import SessionManager


def unfinished(manager: SessionManager, record: Record) -> list[tuple[str, str]]:
    """The runs that are under way on a session's runtime: id and command. Empty if it has no helper of ours, or cannot
    be asked: nobody may be kept from giving a runtime back."""
    if record.helper is None:
        return []
    session = manager.hold_or_none(record)
    if session is None or session.known_gone():
        return []
    try:
        with session:
            if session.backend.find(record) is None:
                return []
            helper = session.connect_helper()
            try:
                return [
                    (state.run, state.label or state.shell or " ".join(state.argv or []) or state.code or "")
                    for state in helper.runs()
                    if not state.ended
                ]
            finally:
                helper.close()
    except errors.Error as error:
        logs.current().info("SESSION", f"what runs on {record.name} is not known: {error.message}")
        return []
