"""What a run shows while it goes on: the types of what `Session.stream` yields, and `on_event` is told."""

from __future__ import annotations

from .jupyter.messages import Clear, Display, Dropped, Event, Failure, InputRequested
from .jupyter.messages import Stream as Text

__all__ = ["Clear", "Display", "Dropped", "Event", "Failure", "InputRequested", "Text"]


def __dir__() -> list[str]:
    return __all__
