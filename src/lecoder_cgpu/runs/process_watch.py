"""The client's side of one process run.

The run is started once: its id makes a second start harmless. A `Follower` delivers its output, and goes on where it
stopped when the connection was replaced. Who ends the client ends the command: Ctrl-C is passed on as SIGINT, and
SIGTERM and SIGHUP as SIGTERM, which a program may take as the order to save its work. While the command does not end,
the next harder signal follows (`STEPS`). The second interrupt ends the watching, and the command goes on.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import BinaryIO

from .. import errors
from ..helper.client import Helper
from ..helper.documents import RunState
from ..helper.follow import Follower
from ..helper.launch import DEFAULT, Launch
from ..jupyter.messages import new_run_id
from ..jupyter.outcome import told
from ..models.base import Timing, timestamp
from ..net.retry import reconnect
from ..sessions import machines
from ..sessions.session import Session
from ..system.interrupts import Hold, naming

RECONNECT_FOR = 75.0  # seconds of trying to reach the runtime again
ESCALATE = ("SIGINT", "SIGTERM", "SIGKILL")
STEPS = {"SIGINT": (5.0, 10.0, 5.0), "SIGTERM": (0.0, 30.0, 5.0)}  # seconds for each of these, by how it begins
ORDERS = (143, 129)  # exit statuses for SIGTERM and SIGHUP: who sends them is no person who waits
TOLD = 2.0  # seconds after which it is said that a command which was told to end is waited for


class ProcessRun:
    """A command on the runtime.

    `state`: the last known state. None or `running` after `until_finished` means that contact was lost.
    `left`: the client stopped watching as it was told, and the command goes on.
    `interrupted`: the exit status for the signal with which the user ended the client; None when nobody did.
    `early`: the interrupt that came while the command was started, until it is dealt with.

    Args:
        run_id: the id of an existing run; a fresh one if None.
        wait: seconds after which to stop watching; the command goes on.
        detach: let the command go on also when the user interrupts the client.
        offsets: bytes of stdout and stderr to pass over.
    """

    def __init__(
        self,
        session: Session,
        command: str | list[str],
        on_output: Callable[[str, bytes], None],
        *,
        stdin: BinaryIO | None = None,
        run_id: str | None = None,
        wait: float | None = None,
        detach: bool = False,
        offsets: tuple[int, int] = (0, 0),
    ) -> None:
        self.id = run_id or new_run_id()
        self._detach = detach
        self._leave_at = None if wait is None else time.monotonic() + wait
        self.left = False
        self.session = session
        self.command = command
        self.state: RunState | None = None
        self.interrupted: int | None = None
        self.problem: errors.Error | None = None
        self.steps: list[str] = []
        self._follower = Follower(self.id, on_output, stdin=stdin, stdout_offset=offsets[0], stderr_offset=offsets[1])
        self._takes_stdin = stdin is not None
        self._sent_at = datetime.now(UTC)
        self._ended_at: datetime | None = None
        self._escalate_at: float | None = None
        self._first = ESCALATE[0]
        self._tell_at: float | None = None
        self._helper: Helper | None = None
        self.early: KeyboardInterrupt | None = None

    @property
    def memory(self) -> float | None:
        """How much of the machine's memory was in use when that was heard last, from 0 to 1."""
        return self._follower.memory

    @property
    def timing(self) -> Timing:
        ended = self._ended_at or datetime.now(UTC)
        milliseconds = round((ended - self._sent_at).total_seconds() * 1000)
        return Timing(timestamp(self._sent_at), timestamp(ended), milliseconds)

    def delivered_less_than(self, stdout: int, stderr: int) -> bool:
        """Whether less of a stream was delivered than this many bytes: its file on the runtime was cut meanwhile."""
        return self._follower.stdout_offset < stdout or self._follower.stderr_offset < stderr

    def start(self, launch: Launch = DEFAULT) -> None:
        """Start the command. A dropped connection is retried: the run's id makes sure that it starts once.

        Raises:
            errors.Error: it was not started.
        """

        def start(helper: Helper) -> RunState:
            self._sent_at = datetime.now(UTC)
            self.session.on_send(self.id)
            with Hold(), naming(self.id):  # one that was started must not be left to itself
                self.state = helper.start(self.id, self.command, launch, stdin=self._takes_stdin)
            return self.state

        try:
            self._helper, self.state = self.session.start_with_helper(start)
        except KeyboardInterrupt as interrupt:
            if self.state is None:
                raise
            with naming(self.id):
                self.early, self._helper = interrupt, self.session.connect_helper()
        if launch.timeout is not None:
            self._tell_at = time.monotonic() + launch.timeout + TOLD

    def attach(self) -> None:
        """Connect to a run that exists already.

        Raises:
            errors.NotFoundError: the runtime does not know it. errors.Error: it cannot be reached.
        """
        self._helper = self.session.connect_helper()
        self.state = self._helper.show(self.id)

    def close(self) -> None:
        """Close the connection; the run goes on."""
        if self._helper is not None:
            self._helper.close()

    def until_finished(self) -> None:
        """Deliver the output until the command has ended, or nothing more can be learnt."""
        assert self._helper is not None
        with Hold() as hold:
            while self._goes_on(hold):
                pass
            self._ended_at = datetime.now(UTC)
            self._helper.close()

    def _goes_on(self, hold: Hold) -> bool:
        """Follow for a while, or take care of what has come between; False when there is nothing more to follow."""
        try:
            with hold.open():
                if self.early is not None:
                    early, self.early = self.early, None
                    raise early
                return not self._step()
        except KeyboardInterrupt as interrupt:
            return self._interrupt(errors.interrupted_status(interrupt))
        except errors.ConnectionFailed as error:
            with hold.open():
                return self._reconnect(error)
        except errors.NotFoundError as error:  # another runtime, or the run was removed
            self.problem = error
            return False

    def _step(self) -> bool:
        """Follow for a while; True when the run is over."""
        assert self._helper is not None
        if self._escalate_at is not None and time.monotonic() >= self._escalate_at:
            self._signal_next()
        moments = [at for at in (self._escalate_at, self._leave_at, self._tell_at) if at is not None]
        state = self._follower.follow(self._helper, min(moments, default=None))
        if state is None:
            self._tell()
            self.left = self._leave_at is not None and time.monotonic() >= self._leave_at
            return self.left
        self.state = state
        return True

    def _tell(self) -> None:
        """Say that a command which was told to end is waited for; it may be saving its work."""
        if self._tell_at is None or time.monotonic() < self._tell_at:
            return
        self._tell_at = None
        if self.interrupted is None:
            self.session.notify(
                "the command was told to end, for its time was up, and has not ended yet; waiting for it"
            )
        else:
            sent = " and ".join(step for step in self.steps if step in ESCALATE)
            self.session.notify(
                f"the command got {sent} and has not ended yet; "
                "waiting for it, and ending it if it does not; Ctrl-C again lets it go on"
            )

    # --- interrupts ---

    def _interrupt(self, status: int) -> bool:
        """Ctrl-C, SIGTERM or SIGHUP: end the command, gently first; the second time, stop watching.

        Returns whether to go on watching.
        """
        again = self.interrupted is not None
        self.interrupted = status
        if self._detach:
            self.left = True
            return False
        if again:
            self.steps.append("stopped watching; the command goes on")
            self.state = None
            return False
        if status in ORDERS:
            self._first = "SIGTERM"
        self._signal_next()
        self._tell_at = time.monotonic() + TOLD
        return True

    def _signal_next(self) -> None:
        """Send the next of the escalating signals."""
        assert self._helper is not None
        sent = [step for step in self.steps if step in ESCALATE]
        at = ESCALATE.index(sent[-1]) + 1 if sent else ESCALATE.index(self._first)
        if at == len(ESCALATE):
            self._escalate_at = None
            return
        name = ESCALATE[at]
        self.steps.append(name)
        self._escalate_at = time.monotonic() + STEPS[self._first][at]
        try:
            self._helper.signal(self.id, name, by="interrupt")
        except errors.ConnectionFailed as error:
            self._reconnect(error)

    # --- the connection ---

    def _reconnect(self, cause: errors.ConnectionFailed) -> bool:
        """Reach the runtime again; False when it is gone or does not answer."""
        assert self._helper is not None
        self.steps.append("the connection dropped")
        self.close()
        if isinstance(cause, errors.HelperDead):
            self.session.replace_helper()

        def follow() -> None:
            self.close()
            self._helper = self.session.connect_helper()
            self._helper.state(self.id, follow=True)

        if self.session.known_gone():
            self.problem = cause
            return False
        try:
            reconnect(follow, again=self.session.may_come_back, limit=RECONNECT_FOR)
        except errors.Error as error:
            self.problem = error
            return False
        self.steps.append("reconnected")
        return True

    def unknown_error(self) -> errors.Error:
        """Why it is not known how the command ended."""
        history = told(self.steps)
        after = f" ({history})" if history else ""
        if self.state is not None and self.state.state == "unknown":
            child = "it is still alive" if self.state.alive else "it is not running any more"
            return errors.LostError(
                f"how the command ended cannot be known: {self.state.reason or 'its supervisor was killed'} ({child})",
                name="SupervisorLost",
                hint=f"what it printed: {self.session.reading_command(self.id)}",
            )
        hint = "repeat the same command: it starts a new runtime; files of the old one are lost"
        if (ended := self.session.end_of_runtime(f"the command ran ({history})", hint)) is not None:
            return ended
        if isinstance(self.problem, errors.NotFoundError):
            replaced = machines.look_again(self.session, time.time())
            if replaced or self.session.record.began > self._sent_at.timestamp():
                return errors.RuntimeLost(
                    f"the session's kernel ended while the command ran, and its machine with it{after}",
                    hint="repeat the same command; files that were there are lost",
                )
            return errors.RuntimeLost(
                f"the runtime does not know the run any more: {self.problem.message}{after}",
                hint="lecoder-cgpu status",
            )
        hint = f"lecoder-cgpu job wait {self.id} --session {self.session.record.name}"
        if self.interrupted is not None:
            return errors.RuntimeFailure(history, name="Interrupted", hint=hint)
        message = self.problem.message if self.problem is not None else "the connection was lost"
        return errors.ConnectionFailed(
            f"contact was lost while the command ran, and it may still be running: {message} ({history})",
            name="ContactLost",
            retryable=False,
            hint=hint,
        )
