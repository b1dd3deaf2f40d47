"""What is left of a run's outputs at the end: the rules that documents and notebooks share. Pure.

An output may take back what came before it: `clear_output` at once or with the next output, an update of a display, or
an Output widget that clears what it captured. `Reducer` knows when; a subclass knows how its outputs are kept: as the
streams and displays of a document (`outputs.Collector`), or as the outputs of a cell (`notebooks.cell_outputs`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from . import messages


class Reducer(ABC):
    """Takes the events of one run. `widget` is the Output widget to which an output belongs, None the run itself."""

    def __init__(self) -> None:
        self._clear_on_next: set[str | None] = set()

    def add(self, event: messages.Event) -> None:
        """Take what the run has shown."""
        match event:
            case messages.Clear(wait=True, widget=widget):
                self._clear_on_next.add(widget)
            case messages.Clear(widget=widget):
                self._clear_now(widget)
            case messages.Stream():
                self._clear_if_due(event.widget)
                self.add_stream(event)
            case messages.Display():
                if self.update(event):
                    return
                self._clear_if_due(event.widget)
                self.add_display(event)
            case messages.Failure():
                self._clear_if_due(event.widget)
                self.add_failure(event)

    def _clear_if_due(self, widget: str | None) -> None:
        if widget in self._clear_on_next:
            self._clear_now(widget)

    def _clear_now(self, widget: str | None) -> None:
        self._clear_on_next.discard(widget)
        self.clear(widget)

    @abstractmethod
    def clear(self, widget: str | None) -> None:
        """Forget what a widget captured; with None what the run has shown."""

    @abstractmethod
    def update(self, display: messages.Display) -> bool:
        """Let a display take the place of all that have its id; whether that is all that it asks for."""

    @abstractmethod
    def add_stream(self, stream: messages.Stream) -> None:
        """Show text."""

    @abstractmethod
    def add_display(self, display: messages.Display) -> None:
        """Show a rich output."""

    @abstractmethod
    def add_failure(self, failure: messages.Failure) -> None:
        """Show an exception."""
