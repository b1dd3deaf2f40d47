"""The entry in the history of the run that a command watches: written when it begins, and completed at its end."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Literal

from .. import errors
from ..models.runs import Run
from . import records

if TYPE_CHECKING:
    from ..models.history import HistoryEntry
    from ..models.runs import DisplayData
    from ..sessions.session import Session


class RunRecord:
    """Writes down the runs of one command, one after the other. That this fails is told, and spoils no run.

    Attributes:
        secrets: values that must not be written, by name.
        displays: the rich outputs of the present run, where its document does not hold them all.
    """

    def __init__(self, notify: Callable[[str], None], mode: Literal["kernel", "terminal"]) -> None:
        self._notify = notify
        self._mode = mode
        self.secrets: Mapping[str, str] = {}
        self.displays: list[DisplayData] = []
        self._begun: HistoryEntry | None = None

    @contextlib.contextmanager
    def beginning(self, session: Session, command: str, *, parts: bool = False) -> Iterator[None]:
        """Write down what the body sends to the runtime as a run, before it is sent.

        Args:
            parts: the body sends several runs, as a notebook its cells; together they are one entry, without an id.
        """

        tell = session.on_send

        def begin(run: str) -> None:
            tell(run)
            if self._begun is not None and (parts or self._begun.run_id == run):  # or its start is only repeated
                return
            secrets = list(self.secrets.values())
            self._begun = records.begin(session, None if parts else run, command, self._mode, secrets=secrets)

        session.on_send = begin
        try:
            yield
        finally:
            session.on_send = tell

    def end(self, session: Session, document: Run, command: str) -> None:
        """Write down how it ended, or that it goes on without us."""
        begun, self._begun = self._begun, None
        with self.telling_unwritten():
            secrets = list(self.secrets.values())
            records.remember(session, document, command, secrets=secrets, displays=self.displays, begun=begun)

    def interrupted(self, session: Session, command: str, interrupt: KeyboardInterrupt) -> Run:
        """Write down a run that was interrupted before it was started; returns its document."""
        document = records.interrupted_run(self._mode, interrupt)
        records.remember_interrupted(session, command, document, self._begun)
        return document

    @contextlib.contextmanager
    def telling_unwritten(self) -> Iterator[None]:
        """Say it if the body cannot write to the history."""
        try:
            yield
        except errors.ConfigError as error:
            self._notify(f"the run was not written to the history: {error.message}")
