"""Records what one kernel publishes, so that a client gets every byte of a run even if its socket fails. It also sends
jobs to the kernel, and sees their end by itself.

Runs on the runtime as a part of the helper (Python 3.8 and newer, standard library and the pyzmq that ipykernel
brings). To the kernel, a recorder is one more subscriber, and one silent request for longer queues, since ZeroMQ drops
what does not fit into them without a word (protocol J2).

**What is recorded.** The messages of our runs, in the order in which the kernel published them. A run's id is the id of
its request, so a message's parent says where it belongs.

**States of a recorder.**

    greeting ---the kernel's messages arrive---> subscribed ---its process ends---> greeting
        |                                                                              |
        +--------- the server has forgotten the kernel (no connection file) -----------+---> the thread ends

*Greeting*: a subscription is made in the background, and what the kernel publishes before goes nowhere. So the kernel
is asked for something until a message arrives. *Subscribed*: nothing is missed; `seconds` says since when.

**States of a run.** The dictionary that holds a run says what is known about it:

* `_expected`: it will be sent from here (a job), or was not sent by the helper that died. It has no messages yet.
* `_runs`: the kernel executes it, or has it in its queue. Its messages are written.
* in neither: it has ended (`result.json` or `failure.json`), or another living helper records it (`_foreign`).

**How a run ends**, in one of four ways. (1) The kernel says idle: the result is written. (2) The kernel refused the
code, because code before it failed: a job goes back to `_expected` and is sent again. (3) The kernel's process ends:
every job that waits ends as died, and everything in `_runs` when `last_messages` has read what the process left. (4)
The run was adopted from a dead helper and ended before this one could see it: the probe finds that out.

**The probe** is a silent request, sent when a recorder has subscribed. The kernel answers it after all earlier work. An
adopted run that has not ended by then ended while no helper was there: it is lost. The probe also has the kernel keep
what it prints (`last_words`), so a caller waits for its answer before it sends code.

**The mark** is a request on the control channel. When its effects arrive, everything that the kernel had published
before it is written. A caller waits for that in `settle`.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import signal
import threading
import time
from typing import TYPE_CHECKING

from . import adopted, executor, last_words, late_ends
from .kernel_sockets import KernelSockets, load, message, received
from .last_messages import DIED, SLICE, LastMessages, Left
from .processes import identity, kernel_process, lives, send_signal, signal_name
from .recording import EndedRuns, Recording, is_recorded
from .reply_notes import NOTE, PREPARE

if TYPE_CHECKING:
    from collections.abc import Callable

GREETING_LIMIT = 1000  # milliseconds for the answer to a request whose effect shows that the subscription works
QUIET_ROUNDS = 20  # such requests without an effect, after which the kernel is asked in another way
GREETING_PAUSE = 50  # milliseconds for what the kernel publishes of it to arrive
SETTLED_WITHIN = 5.0  # seconds that a caller waits for the recorder to catch up with the kernel
LONG_ENOUGH = 60.0  # seconds after which a failure of the recorder counts as the first
LONGEST_PAUSE = 10.0  # seconds; a recorder that has failed so often in a row that it would pause longer gives up
TICK = 1.0  # seconds between looks at runs without news
_RUN_ID = re.compile(r"run-[0-9a-f]{16}")
BATCH = 100  # messages between looks whether the kernel's process has ended
NOTICED_WITHIN = 5.0  # seconds in which the end of a process is noticed; later, it was not the kernel's
READY_LOOK = 0.02  # seconds between looks whether it is


class Recorder(threading.Thread):
    """Subscribes to one kernel while that has a connection file: a restarted kernel keeps its address (protocol J13).

    `subscribed` is set while the kernel's messages are known to arrive here, `prepared` once it has answered the probe.
    """

    def __init__(
        self, kernel: str, connection: str, folder: str, active: Callable[[], None], ended: Callable[[], None]
    ) -> None:
        super().__init__(daemon=True)
        self._kernel = kernel
        self._connection_file = connection
        self._sockets = KernelSockets(connection)
        self.subscribed = threading.Event()
        self.prepared = threading.Event()
        self._since = 0.0
        self._folder = folder
        self._held = os.path.join(os.path.dirname(folder), "printed-" + kernel)
        self._active = active
        self._ended = ended
        self.busy = False
        self._process: tuple[int, str | None] | None = None
        self._runs: dict[str, Recording] = {}
        self._expected: dict[str, Recording] = {}
        self.over = EndedRuns()
        self._foreign: set[str] = set()  # runs that another helper records
        self._left = Left(ended)
        self.behind = False  # more has arrived than is written
        self._probe: str | None = None
        self._mark: str | None = None
        self._wanted = self._marked = threading.Event()  # who waits for a mark, and for whom it was asked
        self.executor = executor.Executor(self._send, self._signal)
        self._late = late_ends.LateEnds(self.executor.has_sent)

    # --- any thread ---

    def seconds(self) -> float:
        """For how many seconds nothing was missed."""
        return time.monotonic() - self._since if self.subscribed.is_set() else 0.0

    def ready(self, within: float) -> bool:
        """Wait until the messages of the process that the kernel has now arrive here; False if that takes too long."""
        deadline = time.monotonic() + NOTICED_WITHIN
        while (process := self._process) and not lives(*process) and time.monotonic() < deadline:
            time.sleep(READY_LOOK)  # that it has ended is not noticed yet
        return self.subscribed.wait(within)

    def settle(self) -> bool:
        """Wait until everything that the kernel has published so far is written; False if that takes too long. For one
        caller at a time."""
        self._wanted = done = threading.Event()
        self.executor.ring()
        return done.wait(SETTLED_WITHIN)

    def expect(self, run: str) -> Recording:
        """The recording of a job, before it is sent."""
        recording = self._expected[run] = Recording(os.path.join(self._folder, run), self._kernel, self._process)
        return recording

    def stop(self, run: str, number: int) -> bool:
        """Take back a job that waits, or signal the kernel while it executes that run; False when neither applies."""
        withdrawn = self.executor.withdraw(run)
        if withdrawn is not None:
            self._expected.pop(run, None)
            withdrawn.finish(exit=None, signal=signal_name(number))
            return True
        recording = self._runs.get(run)
        return recording is not None and recording.begun and self._signal(number)

    def adopt(self) -> None:
        """Take over the runs of this kernel whose helper has died.

        Call it before clients can ask about these runs: until then, their state is unknown.
        """
        for recording, job in adopted.found(self._folder, self._kernel):
            if job is None:
                self._runs[recording.id] = recording
            else:
                self._expected[recording.id] = recording
                self.executor.submit(job)

    # --- the thread ---

    def run(self) -> None:
        pause = 0.0
        while True:
            begun = time.monotonic()
            try:
                self._record()
                break
            except Exception as error:  # no message may end the recorder: begin again, and say that a part is missing
                pause = 0.1 if time.monotonic() - begun > LONG_ENOUGH else 2 * pause + 0.1
                if pause > LONGEST_PAUSE or not self._begin_again(pause):
                    self._lose_all(f"the recorder failed: {type(error).__name__}: {error}")
                    self._sockets.close()
                    return
        self._kernel_died()
        self._left.finish()
        self._sockets.close()
        with contextlib.suppress(OSError):
            os.unlink(self._held)

    def _record(self) -> None:
        """Record until the server has forgotten the kernel."""
        sockets = self._sockets
        poller = sockets.poller(self.executor.wake)
        while True:
            try:
                if not self.subscribed.is_set() and not self._greet():
                    return
                ready = dict(poller.poll(self._patience()))
                if self.executor.wake in ready:
                    self._woken()
                self._take_all()
                if sockets.has_ended():
                    self._kernel_died()
                    poller = sockets.poller(self.executor.wake)
                    continue
                self._left.read()
                if sockets.shell in ready:
                    self._take_one(self._replied, sockets.shell.recv_multipart())
                for recording in self._late.take():
                    self._idle(recording)
                sent = self.executor.step()
                if sent is not None:
                    self._runs[sent.id] = sent
                if self.busy:
                    self._active()
            except OSError:  # a full disk: what is lost is counted by the recording
                time.sleep(0.1)

    def _begin_again(self, pause: float) -> bool:
        """Connect anew after a failure; False when the connection file is gone. Runs are examined as if another helper
        had died with them."""
        self.subscribed.clear()
        self.prepared.clear()
        self._probe = self._mark = None
        self._left.end()
        self._sockets.close()
        time.sleep(pause)
        try:
            self._sockets = KernelSockets(self._connection_file)
        except (OSError, KeyError):
            return False
        for recording in self._runs.values():
            recording.adopted = True
        return True

    def _lose_all(self, reason: str) -> None:
        self._left.end()
        for recording in {**self._runs, **self._expected}.values():
            recording.lose(reason)
            self._ended()
        self._runs.clear()
        self._expected.clear()

    def _take_one(self, take: Callable[[list[bytes]], None], parts: list[bytes]) -> None:
        """Take one message. One that makes no sense is passed over, and counted for every run that it may belong to."""
        try:
            take(parts)
        except OSError:
            raise
        except Exception:
            for recording in self._runs.values():
                recording.passed_over += 1

    def _woken(self) -> None:
        """A job was submitted, or a caller waits for everything to be written."""
        self.executor.awake()
        if self._wanted is not self._marked:
            self._mark, self._marked = self._sockets.ask(), self._wanted

    def _take_all(self) -> None:
        """Write what has arrived, for a while, and let it be read. Nothing more once the process has ended."""
        import zmq

        deadline, self.behind = time.monotonic() + SLICE, True
        while self.behind and time.monotonic() < deadline and not self._sockets.has_ended():
            for _ in range(BATCH):
                try:
                    parts = received(self._sockets.published, zmq.NOBLOCK)
                except zmq.Again:
                    self.behind = False
                    break
                self._take_one(self._take, parts)
        for recording in self._runs.values():
            recording.flush()
            recording.tick()
        if self._mark == "seen" and not self._left:
            self._mark = None
            self._marked.set()

    def _patience(self) -> int | None:
        """Milliseconds until something is to be done even if no message comes; None for never."""
        if self._left:
            return 0
        moments = [TICK] if self._runs or self.busy else []
        moments += [late_ends.LOOK] if self._late else []
        if (due := self.executor.next_moment) is not None:
            moments.append(max(due - time.monotonic(), 0))
        return int(1000 * min(moments)) + 1 if moments else None

    def _greet(self) -> bool:
        """Wait until the kernel's messages arrive here; False when the server has forgotten the kernel.

        A subscription is made in the background, and what the kernel publishes before goes nowhere (protocol J3). So
        we ask for something to be published, over the channel that the kernel serves even when it is busy
        (protocol J12).
        """
        sockets = self._sockets
        is_python = True  # until it says otherwise: a starting kernel publishes before it answers
        rounds, asked = 0, False
        while True:
            self._left.read(GREETING_PAUSE / 1000)
            sockets.ask()
            # One request at a time: a late answer would get between the messages of a run.
            if sockets.control.poll(GREETING_LIMIT):
                is_python = b'"python"' in sockets.control.recv_multipart()[-1]
                rounds += 1
            else:
                rounds += QUIET_ROUNDS
            if sockets.published.poll(GREETING_PAUSE):
                break
            if not asked and rounds >= QUIET_ROUNDS:
                asked = True
                sockets.ask_shell()
            if not os.path.exists(self._connection_file):
                return False
        self._process = kernel_process(self._kernel)
        for recording in adopted.of_other_process(self._runs.values(), self._process):  # the probe tells of the others
            del self._runs[recording.id]
            recording.finish(died=DIED)
        # The kernel gets it after everything that it was given before, and before what our callers send next.
        self._probe = os.urandom(16).hex()
        prepare = PREPARE + last_words.hold(self._held) if is_python else ""
        sockets.execute(self._probe, prepare, silent=True)
        self._since = time.monotonic()
        self.subscribed.set()
        return True

    # --- messages ---

    def _take(self, parts: list[bytes]) -> None:
        taken = message(parts)
        kind, number, run = taken.type, taken.id, taken.parent_id
        for other, known in self._runs.items():
            if other != run:
                known.numbers.note_foreign(number, run)
        state = load(taken.content).get("execution_state") if kind == "status" else None
        if state is not None and taken.parent_type == "execute_request":
            self.busy = state == "busy"
            self._active()
        if run == self._mark:
            self._mark = "seen"
        if (over := self.over.get(run)) is not None:
            over.add_late(kind, taken)
            return
        recording = self._recording(run) if _RUN_ID.fullmatch(run) else None
        if recording is None:
            return
        recording.numbers.note(number)
        if kind == NOTE:
            recording.take_reply(load(taken.content))
        if state == "idle" and self._late.hold(recording, taken):
            return
        recording.add(kind, *taken)
        if state == "idle":
            self._idle(recording)

    def _send(self, run: str, code: executor.KernelCode) -> None:
        for text in filter(None, (code.before, code.text, code.after)):
            if text is code.text:
                self._sockets.execute(run, text)
            else:
                self._sockets.execute(os.urandom(16).hex(), text, silent=True)

    def _recording(self, run: str) -> Recording | None:
        """The recording that a run's messages belong to; None when a helper of another version records it."""
        recording = self._runs.get(run)
        if recording is None and run not in self._foreign:
            recording = self._expected.pop(run, None) or self._open(run, self._process)
            if recording is None:
                self._foreign.add(run)
            else:
                self._runs[run] = recording
        return recording

    def _open(self, run: str, process: tuple[int, str | None] | None) -> Recording | None:
        folder = os.path.join(self._folder, run)
        try:
            os.mkdir(folder, 0o700)
        except FileExistsError:
            if is_recorded(folder):
                return None
        return Recording(folder, self._kernel, process)

    def _idle(self, recording: Recording) -> None:
        known = self.executor.ended(recording.id, begun=recording.begun)
        del self._runs[recording.id]
        self._expected.pop(recording.id, None)
        if known is None:
            recording.restart()
            self._expected[recording.id] = recording
        else:
            recording.finish(**known)
            self.over.add(recording)
            self._ended()

    def _replied(self, parts: list[bytes]) -> None:
        """Take a reply on the shell channel. The reply to the probe says that all earlier work is over."""
        taken = message(parts)
        job = self._runs.get(taken.parent_id)
        if job is not None and taken.type == "execute_reply" and not job.replied:
            job.take_reply(load(taken.content))
            job.add(taken.type, *taken, channel=b"shell")
        if self._probe is None or taken.parent_id != self._probe:
            return
        self._probe = None
        self.prepared.set()
        for run, recording in list(self._runs.items()):
            if recording.adopted and run not in self._late:
                recording.lose(adopted.UNSEEN)
                del self._runs[run]

    # --- the kernel's process ---

    def _signal(self, number: int) -> bool:
        """Signal the kernel's process, as its server would. May be called in any thread."""
        known = self._process
        if known is not None and identity(known[0]) == known[1] and send_signal(known[0], number):
            return True
        if number != signal.SIGINT:
            return False
        self._sockets.interrupt()
        return True

    def _kernel_died(self) -> None:
        """End what waits, leave what the process was executing to its last messages, and go back to greeting."""
        self.subscribed.clear()
        self.prepared.clear()
        self.busy = False
        self._probe = self._mark = None
        while self._sockets.shell.poll(0):
            self._take_one(self._replied, self._sockets.shell.recv_multipart())
        for recording in self._late.take(died=True):
            self._idle(recording)
        (runs, self._runs), (process, self._process) = (self._runs, {}), (self._process, None)
        self._expected.clear()
        self._late.clear()
        jobs = {recording.id: (recording, known) for recording, known in self.executor.kernel_died()}
        known = {run: further for run, (_, further) in jobs.items()}
        held, opened = last_words.read(self._held), functools.partial(self._open_left, process)
        self._left.add(LastMessages(self._sockets.renew(), runs, known, held, self.over, opened))
        for run, (recording, further) in jobs.items():
            if run not in runs:
                recording.finish(died=DIED, **further)
                self._ended()

    def _open_left(self, process: tuple[int, str | None] | None, run: str) -> Recording | None:
        """The recording of a run that is known only from what a process has left."""
        known = (self._runs, self._expected, self._foreign, self.over.ids())
        if not _RUN_ID.fullmatch(run) or any(run in place for place in known):
            return None
        return self._open(run, process)
