"""The Printer: the only place that writes to stdout and stderr.

stdout is the answer: the remote program's own output, one JSON document, or NDJSON events. Everything else that we
feel like saying goes to stderr.
"""

from __future__ import annotations

import contextlib
import copy
import os
import re
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, BinaryIO, Literal, NamedTuple, TextIO

from .. import errors
from . import looks, own_commands, standard_streams
from .looks import Table, Text
from .plain_text import in_a_line, indented, printable

Mode = Literal["human", "json", "events"]
Billing = Literal["running", "none", "unknown"]


class Answer(NamedTuple):
    """What a command returns: its document, the same for people, and the exit status.

    `human` gives lines or a table; it is called only when a person will read it. With `printed`, the command's output
    has been streamed already and only JSON modes print the document.
    """

    document: Any
    human: Callable[[], str | Text | Table] = lambda: ""
    exit_status: int = 0
    printed: bool = False


WAIT_LOOK = 10.0  # seconds; every third time, who waits is told what for
BUDGET = 1 << 20  # bytes of each stream in a document: agents pay for every one
STREAMED = 128 << 10  # the same where everything was printed already; enough for the history


class ReaderGone(KeyboardInterrupt):
    """The reader of stdout has closed it (`| head`). The command ends as a local program does, and the work too."""

    number = 13  # SIGPIPE


_UNSEEN_JSON = re.compile(b"\xc2[\x80-\x9f]|\xe2(?:\x80[\xaa-\xae]|\x81[\xa6-\xa9])|\x7f")


def _told(text: str) -> str:
    """What we say by ourselves, without the secrets that this process knows; only an answer may hold one."""
    from ..system import redaction

    return redaction.without_known(text)


def _json(document: Any) -> bytes:
    """As JSON, in which what terminals obey is always escaped: JSON itself demands that of a part only."""
    import msgspec

    try:
        encoded = msgspec.json.encode(document)
    except UnicodeEncodeError:  # bytes of a name that are no UTF-8, or half a character from outside
        from ..system import redaction

        encoded = msgspec.json.encode(redaction.all_encodable(msgspec.to_builtins(document, str_keys=True)))
    return _UNSEEN_JSON.sub(lambda found: b"\\u%04x" % ord(found[0].decode()), encoded)


def _settings() -> Any:
    from .. import config  # late: --version needs none

    return config


def _line(text: str) -> bytes:
    return (printable(text).rstrip("\n") + "\n").encode()


class Printer:
    """Writes answers in the mode that was asked for."""

    def __init__(self, mode: Mode) -> None:
        self.mode: Mode = mode
        self._out: BinaryIO = sys.stdout.buffer
        self.out_is_terminal = sys.stdout.isatty()
        self.err_is_terminal = sys.stderr is not None and sys.stderr.isatty()
        self.no_input = False  # --no-input
        self.profile: str | None = None  # --profile
        self.session: str | None = None  # --session
        self.reader_gone = False
        self._on_stderr = False
        self._answered = False
        self._unwritten = False  # something that stdout did not take
        self._notices: list[str] = []
        self._lock = threading.Lock()
        self._reports: list[object] = []  # of what is waited for, that go on; those of copies, too

    @property
    def colour(self) -> bool:
        return self.mode == "human" and self.err_is_terminal and _settings().colour_allowed()

    @property
    def shows_a_person(self) -> bool:
        """Whether what goes to stderr is read by a person at a terminal."""
        return self.mode == "human" and self.err_is_terminal

    @property
    def may_ask(self) -> bool:
        """Whether a person is here who can be asked something."""
        person = self.mode == "human" and self.err_is_terminal and sys.stdin.isatty()
        return person and not self.no_input and not _settings().unattended()

    # --- the answer ---

    def write(self, content: bytes) -> None:
        """Bytes of the answer, at once.

        Raises:
            ReaderGone: the reader has closed the stream. Raised once; later writes are dropped.
            errors.TransferError: they cannot be written (a full disk), in the same way.
        """
        try:
            with self._lock:  # heartbeats come from a thread of their own
                self._out.write(content)
                self._out.flush()
        except BrokenPipeError:
            self._give_up()
            self.reader_gone = True
            raise ReaderGone from None
        except OSError as error:
            self._give_up()
            self._unwritten = True
            raise _not_written("stdout", error) from error

    def show(self, text: str) -> None:
        """A line of the answer that is for people, at once: in a view that goes on, or a page of help."""
        self.write(_line(text))

    def write_error_stream(self, content: bytes) -> None:
        """Bytes of the remote program's stderr."""
        try:
            sys.stderr.buffer.write(content)
            sys.stderr.buffer.flush()
        except BrokenPipeError:
            self._give_up(sys.stderr)
            self.reader_gone = True
            raise ReaderGone from None
        except OSError as error:
            self._give_up(sys.stderr)
            raise _not_written("stderr", error) from error

    def event(self, event: Any) -> None:
        """One NDJSON line."""
        self.write(_json(event) + b"\n")

    def budget(self, chosen: int | None, *, streamed: bool = False) -> int | None:
        """How many bytes of each stream a run's document may hold, None for all.

        Args:
            chosen: what the user asked for; 0 is all.
            streamed: whether the output was printed already, so that in other modes the document does not repeat it.
        """
        if chosen is not None:
            return chosen or None
        if self.mode == "json":
            return BUDGET
        # People see no document. Events have told everything, so that it need not be in memory as a whole.
        return STREAMED if streamed or self.mode == "human" else BUDGET

    def answer(self, answer: Answer) -> int:
        """Print a command's answer and return the exit status."""
        if self.mode == "human":
            if not answer.printed:
                self._human(answer.human())
        else:
            self.document(answer.document)
        return answer.exit_status

    def document(self, document: Any) -> None:
        """The one JSON document; on one line when it is the last of the events. A second one is not printed: a signal
        may come while the first is on its way."""
        import msgspec

        if self.profile is not None or self.session is not None:
            own_commands.address(document, self.profile, self.session)
        encoded = _json(document)
        if self.mode == "json":
            encoded = msgspec.json.format(encoded, indent=2)
        if self._answered:
            return
        self._answered = True
        self.write(encoded + b"\n")
        standard_streams.leave_to_system()

    def ours(self, text: str) -> str:
        """A sentence of ours, in which each command that it names acts for the same profile and session as this one,
        and has the name that was typed if a person reads it."""
        found = own_commands.addressed(text, self.profile, self.session)
        if self.mode == "human":
            found = own_commands.as_typed(found)
        return text if found == text else looks.like(text, found)

    def failure(
        self, error: errors.Error, billing: Callable[[], Billing], complete: Callable[[Any], None] | None = None
    ) -> int:
        """Print a failure in the mode that was asked for and return its exit status.

        Args:
            billing: whether something costs money now; asked only for a document.
            complete: writes into the document for whom the command acted.
        """
        if self.mode == "human" or self._unwritten:
            self._tell_failure(error)
            return error.exit_status
        document = failure_document(error, billing(), self.notice)
        if complete is not None and not isinstance(error, errors.UsageError):
            complete(document)
        try:
            self.document(document)
        except errors.TransferError as unwritten:  # stderr is all that is left
            self._tell_failure(error)
            self._tell_failure(unwritten)
        return error.exit_status

    def _tell_failure(self, error: errors.Error) -> None:
        self.note(f"error: {indented(error.message)}")
        if error.hint:
            self.note(f"hint: {indented(error.hint)}")

    def _human(self, content: str | Text | Table) -> None:
        if isinstance(content, Table) and not content.rows:
            self.note(content.empty)
        elif isinstance(content, looks.Prose):
            import shutil

            columns = shutil.get_terminal_size().columns if self.out_is_terminal else sys.maxsize
            self.write(_line(looks.wrapped(printable(self.ours(content)), columns)))
        elif isinstance(content, str):
            self.write(_line(content) if content else b"")
        else:
            self.write("".join(f"{line}\n" for line in self._lines(content)).encode())

    def _lines(self, content: Text | Table) -> list[str]:
        """The lines of an answer, as a terminal or a pipe gets them."""
        if isinstance(content, Text):
            content = Text([[self.ours(piece) for piece in line] for line in content.lines])
        if self.out_is_terminal:
            import shutil

            paint = looks.coloured if _settings().colour_allowed() else looks.plain
            columns = shutil.get_terminal_size().columns
            if isinstance(content, Text):
                return [looks.drawn_line(line, paint, columns) for line in content.lines]
            content = content._replace(below=[self.ours(line) for line in content.below])
            return looks.drawn_table(content, columns, paint)
        if isinstance(content, Text):
            return [printable(looks.continued("".join(line))) for line in content.lines]
        return [printable("\t".join(" ".join(cell.split()) for cell in row)) for row in content.rows]

    # --- asides ---

    def note(self, text: str) -> None:
        """A line for people, on stderr. How it begins tells what kind of line it is: an error, a note, a hint."""
        label = text.partition(" ")[0]
        if label in ("error:", "note:"):
            self._styled(text.removeprefix(label), "", label, label.rstrip(":"))
        else:
            self._styled(text, "dim" if label == "hint:" else "")

    def money(self, text: str) -> None:
        """A line about what costs something, on stderr."""
        self._styled(text, "yellow")

    def aside(self, text: str) -> None:
        """A line for people at a terminal only, such as what may be typed next."""
        if self.shows_a_person:
            self._styled(text, "dim")

    def _styled(self, text: str, style: str, label: str = "", label_style: str = "") -> None:
        if text:
            paint = looks.coloured if self.colour else looks.plain
            shown = printable(_told(self.ours(text)))
            if self.shows_a_person:
                import shutil

                shown = looks.wrapped(shown, shutil.get_terminal_size().columns, first=looks.width(label))
            with contextlib.suppress(OSError, ValueError):
                print(paint(label, label_style) + paint(shown, style), file=sys.stderr, flush=True)

    def notify(self, text: str) -> None:
        """Something the user should know: on stderr now, and in the document as `notice`."""
        self._notices.append(_told(text))
        self.note(f"note: {indented(text)}")

    @property
    def notice(self) -> str | None:
        return "; ".join(self._notices) or None

    @contextlib.contextmanager
    def waiting(self, text: str) -> Any:
        """While something takes long: a spinner on a terminal, and elsewhere a line on stderr every half a minute."""
        if self.mode != "human" or not self.err_is_terminal or _settings().unattended():
            with self.reporting(lambda: text):
                yield
            return
        from rich.console import Console

        report = object()
        self._reports.append(report)
        try:
            with Console(stderr=True, no_color=not _settings().colour_allowed(), markup=False).status(printable(text)):
                yield
        finally:
            self._reports.remove(report)

    @contextlib.contextmanager
    def reporting(self, state: Callable[[], str]) -> Any:
        """A line on stderr every half a minute while the body runs: what is going on, and for how long already; none
        when `state` says nothing."""
        from ..system.periodic import every

        began, looks = time.monotonic(), 0

        def report() -> None:
            nonlocal looks
            looks += 1
            if looks % 3 == 2 and (text := state()):  # after 20 s, 50 s, 80 s, …
                self.note(f"{text} {time.monotonic() - began:.0f} s so far")

        self._reports.append(report)
        try:
            with every(WAIT_LOOK, report, patience=0.0):
                yield
        finally:
            self._reports.remove(report)

    def watch_waits(self) -> Callable[[], None]:
        """From now on, tell of every wait (see `system.waits`) that takes long and that nothing else tells of. Returns
        what ends that."""
        over = threading.Event()
        threading.Thread(target=self._tell_waits, args=(over,), daemon=True).start()
        return over.set

    def _tell_waits(self, over: threading.Event) -> None:
        from ..system import waits

        told = 0.0
        while not over.wait(WAIT_LOOK):
            wait, now = waits.longest(), time.monotonic()
            if wait is None or self._reports or wait[1] < 1.5 * WAIT_LOOK or now - told < 2.5 * WAIT_LOOK:
                continue
            told = now
            self.note(f"waiting for {wait[0]}; {wait[1]:.0f} s so far")

    def ask(self, prompt: str, password: bool) -> str | None:
        """A line from the person at the terminal, None at its end (Ctrl-D). Only called in human mode."""
        if password:
            import getpass

            with contextlib.suppress(EOFError):
                return getpass.getpass(prompt)
            return None
        print(prompt, end="", file=sys.stderr, flush=True)
        line = sys.stdin.readline()
        return line.rstrip("\n") if line else None

    def agrees(self, question: str) -> bool:
        """Whether a person at the terminal says yes; no when nobody is there."""
        return self.may_ask and (self.ask(printable(in_a_line(question)), False) or "").strip().lower() in ("y", "yes")

    def line(self, prompt: str) -> str | None:
        """A line typed at a prompt, with the editing that this system offers; None at the end of input."""
        if not self.out_is_terminal or self._on_stderr:
            return self.ask(prompt, password=False)
        with contextlib.suppress(ImportError):
            import readline  # noqa: F401 - gives `input` its editing
        try:
            return input(prompt)
        except EOFError:
            return None

    def for_a_person(self) -> Printer:
        """Where a session of a person is shown: stdout, or stderr when stdout is for the document."""
        return self if self.mode == "human" else self.on_stderr()

    def on_stderr(self) -> Printer:
        """One that shows on stderr, to a person, what otherwise goes to stdout."""
        other = copy.copy(self)
        other.mode, other._out, other.out_is_terminal = "human", sys.stderr.buffer, self.err_is_terminal
        other._on_stderr = True
        return other

    @property
    def error_fd(self) -> int:
        """The file descriptor of stderr, for programs that we start."""
        return sys.stderr.fileno()

    @property
    def stream(self) -> TextIO:
        """The stream of the answer, for libraries that draw on a terminal by themselves."""
        return sys.stderr if self._on_stderr else sys.stdout

    def _give_up(self, stream: TextIO | None = None) -> None:
        """Write nowhere from now on, so that neither the document nor exiting can fail."""
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), (stream or sys.stdout).fileno())


def _not_written(stream: str, error: OSError) -> errors.Error:
    from ..guest import trees

    told = trees.problem(error, stream)
    return errors.TransferError(
        f"{told.message}: the output is not complete",
        name=told.name,
        hint="what a run printed is kept: lecoder-cgpu logs show RUN --output",
    )


def counted(number: int, noun: str) -> str:
    """`1 file`, `2 files`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def failure_document(error: errors.Error, billing: Billing, notice: str | None = None) -> Any:
    """The document of a failure, of any command."""
    from msgspec import UNSET

    from ..models.base import ErrorInfo, Failure

    info = ErrorInfo.of(error)
    info.message = _told(info.message)
    if isinstance(info.suggestion, str):
        info.suggestion = _told(info.suggestion)
    info.billing = billing
    return Failure(error_code=error.code, exit_code=error.exit_status, error=info, notice=notice or UNSET)
