"""Which session is the active one after another, when that one is given back."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .session_store import Record


def make_another_active(records: list[Record]) -> None:
    """Make the most recently used session the active one: one that may still be used, before one whose runtime is gone;
    never one that is being given back, or that is the own one of a command."""
    states = {item.id: None if item.allocation is None else item.allocation.state for item in records}
    fit = [item for item in records if item.owner is None and states[item.id] != "closing"]
    if fit:
        max(fit, key=lambda item: (states[item.id] != "lost", item.last_used_at)).is_active = True
