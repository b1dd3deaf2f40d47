"""What a stream holds: the beginning and the end of much output, for documents and notebooks, and whole lines, for a
pipe."""

from __future__ import annotations

import codecs
from collections import deque

from msgspec import UNSET, UnsetType

from ..models.runs import Truncated
from .screen import Screen, is_plain, render
from .screen_row import COLOUR

_PART = 1 << 16  # characters that are joined to one part


class LineFeed:
    """Passes on lines for output that goes into a pipe or a file, as a terminal would show them.

    A line comes when it is complete; a line that was drawn again (a progress bar) comes with the next one that was not.
    After a program has moved the cursor up, as nested progress bars do, as many lines are held back as it has moved: it
    may write over them again.
    """

    def __init__(self) -> None:
        self._screen = Screen()

    def feed(self, text: str) -> str:
        """The lines that are final after `text`."""
        self._screen.feed(text)
        return self._screen.take_above(self._screen.depth)

    def flush(self) -> str:
        """What is left of the last lines."""
        rest = self._screen.take() + self._screen.rest()
        self._screen = Screen()
        return rest


class StreamText:
    """A stream's text as a notebook has it: colours stay, and text without other controls stays as it was written.

    Args:
        limit: how many characters it may have; of more, whole lines of the beginning and the end stay. None is all.
    """

    def __init__(self, limit: int | None = None) -> None:
        self._half = None if limit is None else max(limit // 2, 1)
        self._screen: Screen | None = None
        self._head: list[str] = []
        self._tail: deque[str] = deque()
        self._small: list[str] = []  # what is in no part yet
        self._small_size = self._head_size = self._tail_size = 0
        self._lost = 0  # characters that are held nowhere any more
        self.left_out = 0  # characters that the last `text` lacks

    def add(self, text: str) -> None:
        """Write a piece."""
        if self._screen is None and not is_plain(COLOUR.sub("", text)):
            self._screen = Screen(colour=True)
            self._store()
            text = self._taken_back() + text
        if self._screen is not None:
            self._screen.feed(text)
            text = self._screen.take()
        self._small.append(text)
        self._small_size += len(text)
        if self._small_size >= _PART:
            self._store()

    def _store(self) -> None:
        """Make a part of the small ones, and forget what is too much."""
        text, half = "".join(self._small), self._half
        self._small.clear()
        self._small_size = 0
        if half is None or (self._head_size + len(text) <= half and not self._tail):
            self._head.append(text)
            self._head_size += len(text)
            return
        if not self._tail:
            room = half - self._head_size
            self._head.append(text[:room])
            self._head_size, text = half, text[room:]
        surplus = max(len(text) - half, 0)
        self._lost += surplus
        text = text[surplus:]
        self._tail.append(text)
        self._tail_size += len(text)
        while self._tail_size - len(self._tail[0]) >= half:
            gone = len(self._tail.popleft())
            self._tail_size -= gone
            self._lost += gone

    def _taken_back(self) -> str:
        """What was written last, for a screen: nothing further up can be written over."""
        taken: list[str] = []
        size = 0
        while size < _PART and (self._tail or (self._head and not self._lost)):
            taken.append(self._tail.pop() if self._tail else self._head.pop())
            size += len(taken[-1])
            if self._tail_size:
                self._tail_size -= len(taken[-1])
            else:
                self._head_size -= len(taken[-1])
        return "".join(reversed(taken))

    def text(self) -> str:
        """What a terminal would show now, with a line in place of what was left out."""
        self._store()
        rest = "" if self._screen is None else self._screen.rest()
        size = self._head_size + self._tail_size + len(rest)
        if self._half is None or (not self._lost and size <= 2 * self._half):
            self.left_out = 0
            if not self._tail:
                self._head = ["".join(self._head)]
            return "".join([part for part in (*self._head, *self._tail, rest) if part])  # one is not copied
        self._head = ["".join(self._head)]  # the parts are not kept besides
        self._tail = deque(["".join(self._tail)])
        head, tail = self._head[0], (self._tail[0] + rest)[-self._half :]
        head = head[: head.rfind("\n") + 1 or len(head)]
        tail = tail[tail.find("\n") + 1 :]
        total = self._lost + size
        self.left_out = total - len(head) - len(tail)
        end = "" if head.endswith("\n") else "\n"
        # In ASCII: any other character would make Python keep the whole text in twice as many bytes.
        return f"{head}{end}[... {self.left_out:,} of {total:,} characters left out ...]\n{tail}"


class BoundedBuffer:
    """Bytes: all of them, or when they are more than `limit`, their beginning and end."""

    def __init__(self, limit: int | None) -> None:
        self._limit = limit
        self._head = bytearray()
        self._tail = bytearray()
        self._begin = 0 if limit is None else limit // 2
        self._end = 0 if limit is None else limit - limit // 2
        self.total = 0

    def copy(self) -> BoundedBuffer:
        other = BoundedBuffer(self._limit)
        other._head, other._tail, other.total = self._head[:], self._tail[:], self.total
        return other

    def add(self, data: bytes) -> None:
        self.total += len(data)
        if self._limit is None:
            self._head += data
            return
        room = self._begin - len(self._head)
        self._head += data[:room]
        self._tail += data[room:]
        if len(self._tail) > 4 * self._end:
            del self._tail[: len(self._tail) - self._end]

    @property
    def truncated(self) -> bool:
        """Whether anything was left out."""
        return self._limit is not None and self.total > self._limit

    @property
    def content(self) -> bytes:
        """Everything. Call this only when nothing was left out."""
        return bytes(self._head + self._tail)

    def last(self, size: int) -> bytes:
        held = self._tail if self.truncated else self.content
        return bytes(held[max(len(held) - size, 0) :])

    def text(self, encoding_errors: str) -> str:
        """As text, with a line in place of what was left out."""
        if not self.truncated:
            return self.content.decode("utf-8", encoding_errors)
        head, tail = bytes(self._head), self.last(self._end)
        while tail and tail[0] & 0xC0 == 0x80:  # the rest of a character that was cut
            tail = tail[1:]
        head = head.decode("utf-8", "ignore").encode() if encoding_errors == "surrogatepass" else head
        left_out = self.total - len(head) - len(tail)
        mark = f"\n[… {left_out:,} of {self.total:,} bytes left out …]\n"
        return head.decode("utf-8", encoding_errors) + mark + tail.decode("utf-8", encoding_errors)


class StreamBuffer:
    """A stream's bytes for the document, as a terminal would show them: all, or the beginning and the end.

    Args:
        limit: how many bytes the document may show; None is all. What a progress bar has written over does not count.
        raw: keep what was written, and carry out no carriage return or escape sequence.
        encoding_errors: what becomes of bytes that are not UTF-8, as in `bytes.decode`.
    """

    def __init__(self, limit: int | None = None, *, raw: bool = False, encoding_errors: str = "replace") -> None:
        self._limit = limit
        self._raw = raw
        self._encoding_errors = encoding_errors
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self._written = BoundedBuffer(self._limit)
        self._screen: Screen | None = None  # once more was written than can be kept
        self._decoder = codecs.getincrementaldecoder("utf-8")(self._encoding_errors)
        self._shown = BoundedBuffer(self._limit)

    def add(self, data: bytes) -> None:
        """Keep what was written."""
        if self._limit is not None and not self._raw and self._written.total + len(data) > self._limit:
            if self._screen is None:
                self._screen = Screen()
                self._show(self._written.content)
            self._show(data)
        self._written.add(data)

    def _show(self, data: bytes) -> None:
        assert self._screen is not None
        self._screen.feed(self._decoder.decode(data))
        if final := self._screen.take():
            self._shown.add(final.encode("utf-8", "surrogatepass"))

    def _final(self) -> BoundedBuffer:
        """What a terminal would show, when more was written than can be kept."""
        if self._screen is None:
            return self._written
        final = self._shown.copy()
        final.add(self._screen.rest().encode("utf-8", "surrogatepass"))
        return final

    @property
    def total(self) -> int:
        """How many bytes were written."""
        return self._written.total

    @property
    def truncated(self) -> bool:
        """Whether anything of what a terminal would show is left out."""
        return self._final().truncated

    @property
    def content(self) -> bytes | None:
        """Every byte that was written; None when they were too many to keep."""
        return None if self._written.truncated else self._written.content

    def last(self, size: int) -> bytes:
        """The last bytes that were written, as many of `size` as there are."""
        return self._written.last(size)

    def text(self) -> str:
        """The text, with a line in place of what was left out."""
        if self._screen is not None:
            return self._final().text("surrogatepass" if self._encoding_errors == "surrogatepass" else "replace")
        text = self._written.text(self._encoding_errors)
        return text if self._raw else render(text)


def cut(parts: list[dict[str, StreamBuffer]]) -> Truncated:
    """Which of the streams are not whole, and how much there was."""

    def size(name: str) -> int | UnsetType:
        buffers = [streams[name] for streams in parts]
        return sum(buffer.total for buffer in buffers) if any(buffer.truncated for buffer in buffers) else UNSET

    return Truncated(stdout_bytes=size("stdout"), stderr_bytes=size("stderr"))
