"""A prompt on the session's kernel: what is typed is run there, and shown as it goes on.

Every cell is a run like those of `run -m kernel`: recorded, in the history, interrupted by Ctrl-C, complete after a
dropped connection. How lines are edited is in `prompt`; without prompt_toolkit, and in a dumb terminal, they are plain.
"""

from __future__ import annotations

import importlib.util
import re
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from msgspec import UNSET

from .. import config, errors
from ..history.entries import History, entry_from_run, shown_by
from ..jupyter.kernel_channels import Completion, KernelConnection
from ..jupyter.kernelspecs import PYTHON
from ..models.base import ErrorInfo
from ..models.connections import Connected
from ..models.history import HistoryRuntime
from ..runs import kernel_runs
from ..sessions.activity import in_use, promise
from ..sessions.session import Session
from .app import App
from .live import KernelView, failure_text
from .pictures import Pictures, protocol

if TYPE_CHECKING:
    from ..models.runs import Run

ASK_LIMIT = 1.5  # seconds that the kernel has to say whether code is complete; it may be busy with somebody else's
COMPLETE_LIMIT = 8.0  # seconds for proposals, which nobody needs to wait for; the first ones take the longest
LEAVE = ("exit", "quit", "exit()", "quit()")
_LEAVE_TOO = {"r": ("q()",)}  # the kernel would ask to save its workspace, or end without a word
_REMEMBERED = 200  # earlier cells that the arrow keys bring back

T = TypeVar("T")
Reader = Callable[[str], str | None]  # a cell for that prompt, None when the user leaves


class Repl:
    """One visit to the session's kernel.

    Args:
        outputs: the folder for images that the terminal cannot show; a temporary one when None.
    """

    def __init__(self, app: App, session: Session, outputs: str | None) -> None:
        self._session = session
        self.screen = app.printer.for_a_person()
        self._outputs = Path(outputs).expanduser() if outputs else None
        self._history = History(app.client.state_dir)
        self._connection: KernelConnection | None = None
        self._turn = threading.Lock()  # for the connection: proposals are asked for in threads, while people type on
        self._count: int | None = None  # the number of the next cell, as the kernel counts; None while it is busy
        self.language = PYTHON  # until the kernel is there
        self._cells = self._failed = 0
        self._left_by: int | None = None  # the exit status for the signal that ended us
        asked = partial(protocol, sys.stdin.fileno(), self.screen.write)
        self._pictures = Pictures(asked, self.screen.write, self._folder)

    def until_left(self, startup_code: str | None) -> Connected:
        """Run what is typed until the user leaves.

        Raises:
            errors.Error: the kernel cannot be reached in the first place.
        """
        started = time.monotonic()
        self._connection = self._session.connect_kernel()
        try:
            self.language = self._session.language()
            explains = "name? explains, " if self.language == PYTHON else ""
            shown = self.language.capitalize()
            self.screen.note(f"{shown} on {self._session.record.name}; {explains}Ctrl-C interrupts, Ctrl-D leaves")
            if (text := promise(self._session)) is not None:
                self.screen.money(text)
            executed = self._ask(lambda connection: connection.executed(ASK_LIMIT))
            self._count = None if executed is None else executed + 1
            if startup_code is not None:
                self._run(startup_code)
            with in_use(self._session):
                self._loop()
        finally:
            if self._connection is not None:
                self._connection.close()
        document = Connected(
            session=self._session.record.ref, mode="kernel", seconds=round(time.monotonic() - started, 3)
        )
        document.cells, document.failed_cells = self._cells, self._failed or UNSET
        if self._left_by is not None:
            document.exit_code = self._left_by
        return document

    def _loop(self) -> None:
        read = self._reader()
        while self._left_by is None:
            try:
                code = read(f"In [{self._count or ' '}]: ")
            except KeyboardInterrupt as interrupt:
                if errors.interrupted_status(interrupt) != 130:
                    raise
                continue  # Ctrl-C gives a fresh line
            if code is None or code.strip() in (*LEAVE, *_LEAVE_TOO.get(self.language, ())):
                return
            if code.strip():
                self._run(code)

    def _reader(self) -> Reader:
        missing = [name for name in ("prompt_toolkit", "pygments") if importlib.util.find_spec(name) is None]
        if missing or config.environment("TERM") == "dumb":
            if missing:
                self.screen.note('note: pip install "lecoder-cgpu[repl]" brings highlighting and completion')
            return self._plain
        from .prompt import Prompt

        return Prompt(self, self.screen, self._remembered(), self.language).read

    def _plain(self, prompt: str) -> str | None:
        """A cell, line by line, until the kernel finds it complete."""
        lines: list[str] = []
        while True:
            line = self.screen.line(prompt if not lines else "   ...: ")
            if line is None:
                return None
            lines.append(line)
            code = "\n".join(lines)
            if self.incomplete(code) is None:
                return code

    def _remembered(self) -> list[str]:
        """Earlier cells, the newest first."""
        try:
            entries = self._history.entries(_REMEMBERED, mode="kernel")
        except errors.ConfigError:
            return []
        return list(dict.fromkeys(entry.command for entry in entries))

    # --- what is typed ---

    def _run(self, code: str) -> None:
        view = KernelView(self.screen, pictures=self._pictures)
        try:
            document = self._execute(code, view)
        except errors.Error as error:  # nothing was sent
            self.screen.note(f"error: {error.message}")
            self.screen.note(f"hint: {error.hint}" if error.hint else "")
            return
        view.finish(document.error)
        self._cells += 1
        self._failed += document.status != "ok"
        if document.execution_count is not None:
            self._count = document.execution_count + 1
        self._tell(document)
        document.session = self._session.record.ref
        runtime = self._session.record.runtime
        kept = HistoryRuntime(label=runtime.label, accelerator=runtime.accelerator)
        try:
            self._history.append(entry_from_run(document, code, kept, []), shown_by(document))
        except errors.ConfigError as error:
            self.screen.note(f"note: the run was not written to the history: {error.message}")
        if document.interrupted is True and document.exit_code not in (0, 130):
            self._left_by = document.exit_code

    def _execute(self, code: str, view: KernelView) -> Run:
        with self._turn:  # the kernel answers one after the other, so waiting for proposals costs nothing
            try:
                return self._execute_once(code, view)
            except errors.ConnectionFailed:  # the socket was closed while nobody looked; nothing was sent
                self._disconnect()
                return self._execute_once(code, view)

    def _execute_once(self, code: str, view: KernelView) -> Run:
        return kernel_runs.kernel_run(
            self._session, code, view.show, on_input=self.screen.ask, connection=self._connected()
        )

    def _connected(self) -> KernelConnection:
        if self._connection is None:
            self._connection = self._session.connect_kernel()
        return self._connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _tell(self, document: Run) -> None:
        error = document.error
        if not isinstance(error, ErrorInfo):
            return
        self.screen.note(failure_text(error) or f"error: {error.name}: {error.message}")
        if isinstance(error.suggestion, str) and error.category != "runtime":
            self.screen.note(f"hint: {error.suggestion}")

    def _folder(self) -> Path:
        if self._outputs is None:
            self._outputs = Path(tempfile.mkdtemp(prefix="lecoder-cgpu-"))
        return self._outputs

    # --- questions about code ---

    def complete(self, code: str, cursor: int) -> Completion | None:
        """What the kernel proposes at a position; None when it does not answer in time."""
        return self._ask(lambda connection: connection.complete(code, cursor, COMPLETE_LIMIT))

    def incomplete(self, code: str) -> str | None:
        """The indentation of the next line when code cannot be run yet, None when it can."""
        asked = self._ask(lambda connection: connection.is_complete(code, ASK_LIMIT))
        if asked is not None:
            return asked.indent if asked.status == "incomplete" else None
        if self.language != PYTHON:
            return None
        last = code.rpartition("\n")[2]
        return "    " if re.search(r":\s*(#.*)?$", last) or (last.strip() and last[0] in " \t") else None

    def _ask(self, question: Callable[[KernelConnection], T | None]) -> T | None:
        if not self._turn.acquire(timeout=ASK_LIMIT):
            return None
        try:
            return question(self._connected())
        except errors.Error:
            self._disconnect()  # the next use connects again, and tells if that fails
            return None
        finally:
            self._turn.release()
