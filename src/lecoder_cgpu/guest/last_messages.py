"""What a kernel's process had published when it ended, and the recorder had not read yet.

Runs on the runtime as a part of the helper (Python 3.8 and newer, standard library and pyzmq). A process may leave a
million messages behind, which take a minute to write, while the next process is at work after a second. Only some
kernels say in their messages which process they come from. So the next process gets a subscription of its own, and the
earlier one is given up: what had arrived there is read to its end, and nothing follows it. Runs that have not ended by
then died with their process.
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any

from . import last_words
from .kernel_sockets import XSUB_NOTHING, Message, load, message, received
from .reply_notes import NOTE

if TYPE_CHECKING:
    from collections.abc import Callable

    from .recording import EndedRuns, Recording

SLICE = 0.2  # seconds of reading, after which there is a look at everything else
DIED = "the kernel died or was restarted"


class LastMessages:
    """The messages that a process has left.

    Args:
        socket: the subscription to it. It is given up now, and closed at the end.
        runs: what the process was executing, or had in its queue.
        known: further fields for the results of jobs.
        held: what the process has kept of what it printed (see `last_words`).
        over: the runs that have ended, also those of the next process.
        opened: makes the recording of a run that is not known yet; None if the next process has it, or another helper.
    """

    def __init__(
        self,
        socket: Any,
        runs: dict[str, Recording],
        known: dict[str, dict[str, Any]],
        held: bytes,
        over: EndedRuns,
        opened: Callable[[str], Recording | None],
    ) -> None:
        socket.send(XSUB_NOTHING)  # it connects again by itself, and gets nothing then
        self._socket = socket
        self._runs = runs
        self._known = known
        self._held = held
        self._over = over
        self._earlier = over.ids()
        self._opened = opened

    def read(self, seconds: float) -> bool:
        """Write messages for some time; True when there are no more."""
        import zmq

        deadline, rest = time.monotonic() + seconds, False
        while not rest and time.monotonic() < deadline:
            try:
                parts = received(self._socket, zmq.NOBLOCK)
            except zmq.Again:
                rest = True
                continue
            try:
                self._take(message(parts))
            except OSError:
                raise
            except Exception:  # one that makes no sense
                for recording in self._runs.values():
                    recording.passed_over += 1
        for recording in self._runs.values():
            recording.flush()
        return rest

    def _take(self, taken: Message) -> None:
        kind, number, run = taken.type, taken.id, taken.parent_id
        for other, known in self._runs.items():
            if other != run:
                known.numbers.note_foreign(number, run)
        if run in self._earlier and (over := self._over.get(run)) is not None:
            over.add_late(kind, taken)
            return
        recording = self._runs.get(run) or self._opened(run)
        if recording is None:
            return
        self._runs[run] = recording
        recording.numbers.note(number)
        content = load(taken.content) if kind in (NOTE, "status") else {}
        if kind == NOTE:
            recording.take_reply(content)
        recording.add(kind, *taken)
        if content.get("execution_state") == "idle" and recording.begun:
            self._end(recording)

    def _end(self, recording: Recording, **how: Any) -> None:
        del self._runs[recording.id]
        recording.finish(**how, **self._known.get(recording.id, {}))
        self._over.add(recording)
        self._earlier.add(recording.id)

    def close(self) -> None:
        """End what has not ended: it died."""
        self._socket.close(linger=0)
        for recording in list(self._runs.values()):
            recording.add_lost(last_words.lost(self._held, recording.id, recording.arrived))
            self._end(recording, died=DIED)


class Left:
    """What the processes of one kernel have left, each until it is read.

    Args:
        ended: called when runs have ended.
    """

    def __init__(self, ended: Callable[[], None]) -> None:
        self._parts: list[LastMessages] = []
        self._ended = ended

    def __bool__(self) -> bool:
        return bool(self._parts)

    def add(self, part: LastMessages) -> None:
        self._parts.append(part)

    def read(self, seconds: float = SLICE) -> None:
        """Go on with each for some time."""
        for part in list(self._parts):
            if part.read(seconds):
                self._close(part)

    def finish(self) -> None:
        """Read it all."""
        while self._parts:
            with contextlib.suppress(OSError):  # a full disk
                self.read()

    def end(self) -> None:
        """End it all, read or not."""
        for part in list(self._parts):
            self._close(part)

    def _close(self, part: LastMessages) -> None:
        self._parts.remove(part)
        part.close()
        self._ended()
