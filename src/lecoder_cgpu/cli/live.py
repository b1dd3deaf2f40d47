"""Shows a run while it goes on: as text for people, or as events; a terminal gets redraws, a pipe gets whole lines."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from msgspec import UNSET

from .. import errors
from ..jupyter import messages, outputs, stream_buffers
from ..jupyter.screen import render, strip_ansi
from ..models.base import ErrorInfo
from ..models.base import now as utc_now
from ..models.runs import ClearEvent, DisplayEvent, FailureEvent, HeartbeatEvent, NoticeEvent, StreamEvent
from ..system.periodic import every
from .output import WAIT_LOOK, Printer, ReaderGone
from .plain_text import in_a_line, indented

if TYPE_CHECKING:
    from .pictures import Pictures


class Offsets:
    """How much of each stream was shown, in bytes, and when something was shown last."""

    def __init__(self, start: tuple[int, int] = (0, 0)) -> None:
        self.begin(start)

    def begin(self, start: tuple[int, int] = (0, 0)) -> None:
        """Count from there."""
        self.stdout, self.stderr = start
        self.shown_at = time.monotonic()

    def advance(self, name: str, size: int) -> int:
        """Count a piece of a stream; returns where it begins."""
        begin: int = getattr(self, name)
        setattr(self, name, begin + size)
        self.shown_at = time.monotonic()
        return begin


@contextlib.contextmanager
def heartbeat(printer: Printer, offsets: Offsets, seconds: float) -> Iterator[None]:
    """Print an event now and then while the body runs, so that a reader of events knows that somebody still watches.

    Args:
        seconds: between two of them; 0 for none.
    """
    began = time.monotonic()

    def beat() -> None:
        now = time.monotonic()
        event = HeartbeatEvent(
            at=utc_now(),
            elapsed_seconds=round(now - began, 1),
            silent_seconds=round(now - offsets.shown_at, 1),
            stdout_offset=offsets.stdout,
            stderr_offset=offsets.stderr,
        )
        with contextlib.suppress(ReaderGone):  # the next output, or the document, meets the same where it ends us
            printer.event(event)

    with every(seconds if printer.mode == "events" else 0.0, beat):
        yield


def tell_pulled(printer: Printer, pulled: object) -> None:
    """Tell people what was fetched, and what was not."""
    failed = [item for item in pulled if isinstance(item.error, ErrorInfo)] if isinstance(pulled, list) else []
    for item in pulled if isinstance(pulled, list) else ():
        if isinstance(item.error, ErrorInfo):
            if len(failed) > 1:  # a single one is told as the run's own error
                printer.note(f"error: {in_a_line(item.path)} was not fetched: {indented(item.error.message)}")
        else:
            for left in (item.skipped or ()) if item.generation is UNSET else ():  # else it was told already
                printer.note(f"skipped: {in_a_line(left.path)}: {left.reason}")
            printer.note(f"fetched: {in_a_line(item.path)} -> {in_a_line(item.local)}")


class KernelView:
    """Shows the events of a kernel run.

    On a terminal, carriage returns and colour go through, and `clear_output` and display updates redraw. In a pipe,
    lines come when they are complete, without escape sequences, and of a display that is updated, or that stands in an
    Output widget that is cleared (as rich draws its bars), only the last state is printed, at the end. With `raw`, text
    goes through untouched. Events hold binary outputs only with `inline`. `pictures` shows images.
    """

    def __init__(
        self,
        printer: Printer,
        *,
        raw: bool = False,
        inline: bool = False,
        start: tuple[int, int] = (0, 0),
        pictures: Pictures | None = None,
    ) -> None:
        self.offsets = Offsets(start)
        self._pictures = pictures
        self._inline = inline
        self._printer = printer
        self._raw = raw
        self._terminal = printer.out_is_terminal
        self._feeds = {"stdout": stream_buffers.LineFeed(), "stderr": stream_buffers.LineFeed()}
        self._shown = ""  # what this run has put on the terminal since the last clearing
        self._clear_on_next = False
        self._widget: str | None = None  # the Output widget that captures what comes
        self._pending: dict[str, tuple[str, str | None]] = {}  # display id -> its latest text, and whose it is
        self._redrawn: set[str | None] = set()  # the Output widgets that were cleared
        self._unnamed = itertools.count()
        self._last_display: tuple[str, str] | None = None
        self._failure: messages.Failure | None = None  # the last output, which may be what ends the code

    def show(self, event: messages.Event) -> None:
        """Show one event at once."""
        if self._printer.mode == "events":
            self._printer.event(self._as_event(event))
        elif self._printer.mode == "human":
            self._show_text(event)

    def finish(self, ended_by: object = None) -> None:
        """Show what was held back; `ended_by` is the error of the document, which is told apart."""
        failure, self._failure = self._failure, None
        if failure is not None and not (isinstance(ended_by, ErrorInfo) and _tells(ended_by, failure)):
            self._write_failure(failure)
        for name, feed in self._feeds.items():
            if rest := feed.flush():
                self._write(name, rest)
        for text, _ in self._pending.values():
            self._write("stdout", text)
        self._pending.clear()

    def _as_event(self, event: messages.Event) -> Any:
        match event:
            case messages.Stream(name=name, text=text):
                size = len(text.encode("utf-8", "surrogatepass"))
                offset = self.offsets.advance(name, size)
                return StreamEvent(name=name, text=text, offset=offset, next_offset=offset + size)
            case messages.Display():
                data, omitted = (event.data, {}) if self._inline else outputs.without_binary(event.data)
                return DisplayEvent(
                    data=data,
                    metadata=event.metadata,
                    display_id=event.display_id,
                    update=event.update,
                    omitted=omitted or UNSET,
                )
            case messages.Clear(wait=wait):
                return ClearEvent(wait=wait)
            case messages.Failure(name=name, message=message, traceback=traceback):
                limit = outputs.ERROR_LIMIT
                lines = outputs.cut_text(strip_ansi("\n".join(traceback)), limit).split("\n") if traceback else []
                return FailureEvent(
                    name=outputs.short_name(name), message=outputs.cut_text(message, limit), traceback=lines
                )
            case messages.Dropped(notice=notice):
                return NoticeEvent(text=f"the server left out output: {notice.splitlines()[0]}")
        raise TypeError(event)

    def _show_text(self, event: messages.Event) -> None:
        failure, self._failure = self._failure, None
        if failure is not None:
            self._write_failure(failure)
        if isinstance(event, messages.Owned) and event.widget != self._widget:
            self._widget = event.widget
            self._clear_on_next = False
            self._shown = ""  # its clearing takes back only what it shows from here on
        match event:
            case messages.Failure():
                self._clear_if_due()
                self._failure = event
            case messages.Stream(name=name, text=text):
                self._clear_if_due()
                self._last_display = None
                if self._raw or self._terminal:
                    self._write(name, text)
                else:
                    self._write(name, self._feeds[name].feed(text))
            case messages.Display():
                if not self._picture(event):
                    self._display(event)
            case messages.Clear(wait=True):
                self._clear_on_next = True
                self._note_redrawn()
            case messages.Clear():
                self._clear()
                self._note_redrawn()

    def _write_failure(self, failure: messages.Failure) -> None:
        exception = failure.name
        if exception != "SystemExit":  # a program that ends itself is no news
            lines = "\n".join(failure.traceback) or f"{failure.name}: {failure.message}"
            self._write("stderr", (lines if self._raw or self._terminal else strip_ansi(lines)) + "\n")

    def _picture(self, event: messages.Display) -> bool:
        """Show an output as an image, or say where it is; False if it is not an image, or redraws an earlier output."""
        if self._pictures is None or event.update or not any(mime.startswith("image/") for mime in event.data):
            return False
        self._clear_if_due()
        try:
            line = self._pictures.show(event.data)
        except KeyError:
            return False
        except errors.ConfigError as error:
            line = f"error: {error.message}"
        if line is not None:
            self._printer.note(line)
        self._shown, self._last_display = "", None  # nobody knows how many rows it takes
        return True

    def _display(self, event: messages.Display) -> None:
        text = as_text(event.data)
        if not self._terminal and not self._raw:
            text = render(text)
        text += "\n" if text else ""
        key = event.display_id
        if not self._terminal and not self._raw:
            if key is None and event.widget in self._redrawn:
                self._clear_if_due()
                key = f"{event.widget} {next(self._unnamed)}"
            if key is not None:
                self._pending[key] = (text, event.widget)
                return
        if event.update and self._terminal and self._last_display is not None and self._last_display[0] == key:
            self._rub_out(self._last_display[1])
        else:
            self._clear_if_due()
        self._write("stdout", text)
        self._last_display = (key, text) if key is not None else None

    def _note_redrawn(self) -> None:
        if self._widget is not None:
            self._redrawn.add(self._widget)

    def _clear_if_due(self) -> None:
        if self._clear_on_next:
            self._clear()

    def _clear(self) -> None:
        self._clear_on_next = False
        if self._widget is None:
            self._pending.clear()
        for key, (_, widget) in list(self._pending.items()):
            if widget == self._widget:
                del self._pending[key]
        if self._terminal and not self._raw:
            self._rub_out(self._shown)
            self._shown = ""

    def _rub_out(self, text: str) -> None:
        """Take back `text`, the last thing written to the terminal, as far as it is still on the screen."""
        import shutil

        size = shutil.get_terminal_size()
        lines = render(text).split("\n")
        rows = sum(max((len(line) + size.columns - 1) // size.columns, 1) for line in lines) - 1
        up = min(rows, size.lines - 1)
        self._printer.write(b"\r" + (f"\x1b[{up}A".encode() if up else b"") + b"\x1b[J")

    def _write(self, name: str, text: str) -> None:
        if not text:
            return
        content = text.encode("utf-8", "backslashreplace")
        if name == "stderr":
            self._printer.write_error_stream(content)
        else:
            self._printer.write(content)
        if self._terminal:
            self._shown += text


class ProcessView:
    """Shows the output of a process: its bytes, untouched, on the same streams; or as events."""

    def __init__(self, printer: Printer, *, start: tuple[int, int] = (0, 0)) -> None:
        self.offsets = Offsets(start)
        self._printer = printer
        self._write: dict[str, Callable[[bytes], None]] = {
            "stdout": printer.write,
            "stderr": printer.write_error_stream,
        }
        self._cut: dict[str, bytes] = {"stdout": b"", "stderr": b""}

    def show(self, name: str, content: bytes) -> None:
        if self._printer.mode == "human":
            self._write[name](content)
            self.offsets.shown_at = time.monotonic()
        elif self._printer.mode == "events":
            self._event(name, self._cut[name] + content, last=False)

    def while_silent(self, text: str) -> str:
        """The text, or nothing when the output itself has told lately that something goes on."""
        return text if time.monotonic() - self.offsets.shown_at > WAIT_LOOK else ""

    def finish(self) -> None:
        if self._printer.mode == "events":
            for name, rest in self._cut.items():
                if rest:
                    self._event(name, rest, last=True)

    def _event(self, name: str, content: bytes, *, last: bool) -> None:
        from base64 import b64encode

        self._cut[name] = b""
        text: str | None = None
        try:
            text = content.decode()
        except UnicodeDecodeError as error:
            # A character may be cut by the end of a chunk; its rest comes with the next one.
            if not last and error.start >= len(content) - 3 and error.reason == "unexpected end of data":
                self._cut[name] = content[error.start :]
                content = content[: error.start]
                if not content:
                    return
                text = content.decode()
        offset = self.offsets.advance(name, len(content))
        event = StreamEvent(name=name, offset=offset, next_offset=offset + len(content))  # type: ignore[arg-type]
        if text is not None:
            event.text = text
        else:
            event.base64 = b64encode(content).decode()
        self._printer.event(event)


def failure_text(error: ErrorInfo) -> str:
    """The traceback, and the message where the kernel has left it out of that; "" without a traceback."""
    if not isinstance(error.traceback, list) or not error.traceback:
        return ""
    text = "\n".join(error.traceback)
    told = error.name in text or error.message.split("\n", 1)[0][:40] in text
    return text if told else f"{text}\n{error.name}: {error.message}"


def _tells(error: ErrorInfo, failure: messages.Failure) -> bool:
    """Whether whoever reads the error needs nothing of the last output: bash's have neither a name nor a traceback."""
    return bool(error.traceback) or (not failure.traceback and failure.name in ("", error.name))


def as_text(data: dict[str, Any]) -> str:
    """A rich output for a text terminal: its plain form, "" where that is empty, or what kinds there are."""
    for mime in ("text/plain", "text/markdown"):
        text = data.get(mime)
        if isinstance(text, str):
            return text
        if isinstance(text, list):
            return "".join(str(part) for part in text)
        if text is not None:  # against the rules, but it is what was meant to be shown
            return str(text)
    return "[" + ", ".join(map(str, data)) + "]"


def aside(printer: Printer) -> Callable[[str, bytes], None]:
    """Shows what an installer prints, for people: stdout is for the program."""

    def show(stream: str, content: bytes) -> None:
        if printer.mode == "human":
            printer.write_error_stream(content)

    return show
