"""What goes into a `Watch` (events) and what comes out of it (actions).

The driver executes every action and answers with the event that its docstring names, unless the user interrupts it.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from .. import errors
from . import messages

# --- events --------------------------------------------------------------------------------------------------------


class Tick(Struct, frozen=True):
    """Time has passed, and nothing else happened."""


class Received(Struct, frozen=True):
    """A message came over the socket."""

    message: messages.Message


class Disconnected(Struct, frozen=True):
    """The socket is closed. `unsent` is the value of an input reply that could not be sent because of it."""

    cause: errors.ConnectionFailed
    unsent: Any = None


class Reconnected(Struct, frozen=True):
    """A new socket is open, under the same session id."""


class ReconnectFailed(Struct, frozen=True):
    """There is no new socket: the server stays away, does not know us any more, or (`NotFoundError`) has no such
    kernel. `cause` closed the old one."""

    failure: errors.Error
    cause: errors.ConnectionFailed


class KernelState(Struct, frozen=True):
    """What the server says of the kernel's process: `idle`, `busy`, …; None when the server could not be asked."""

    state: str | None


class KernelGone(Struct, frozen=True):
    """The server has no such kernel any more."""


class Answered(Struct, frozen=True):
    """The user's answer to a question of the code; None at the end of the input."""

    value: str | None


class InterruptSent(Struct, frozen=True):
    """The server has interrupted the kernel; `error` says why not, if it could not."""

    error: errors.Error | None = None


class RestartDone(Struct, frozen=True):
    """The server has restarted the kernel; `error` says why not, if it could not."""

    error: errors.Error | None = None


class SignAsked(Struct, frozen=True):
    """The kernel was asked to publish something, by the request of that id; None if the socket is closed."""

    request: str | None


class RecordingOpened(Struct, frozen=True):
    """What the runtime recorded of the run can be read."""


class RecordingLost(Struct, frozen=True):
    """The recording cannot be reached now. It is closed, and may be opened again."""


class RecordingUnreadable(Struct, frozen=True):
    """The recording can never be read."""

    error: errors.Error


class RecordedEnd(Struct, frozen=True):
    """What a recording that has ended says of the whole run.

    `incomplete`: output is missing in the recording, too. `bytes_dropped`: how much the recorder left out.
    `passed`: how many messages it has up to the one after which it was opened. `died`: how the kernel's process ended
    before the code did, where it has.
    """

    incomplete: bool = False
    bytes_dropped: int = 0
    passed: int = 0
    died: str | None = None


class Pulled(Struct, frozen=True):
    """New messages of the recording, maybe none; with `end`, they are the last, and with `more`, others are there."""

    messages: list[messages.Message]
    end: RecordedEnd | None = None
    more: bool = False


class CoverageKnown(Struct, frozen=True):
    """Whether the recorder has been there since before the request was sent; `error` says why nobody knows."""

    covered: bool
    error: errors.Error | None = None


class UserInterrupt(Struct, frozen=True):
    """Ctrl-C, SIGTERM or SIGHUP; `status` is the exit status that belongs to it."""

    status: int


Event = (
    Tick
    | Received
    | Disconnected
    | Reconnected
    | ReconnectFailed
    | KernelState
    | KernelGone
    | Answered
    | InterruptSent
    | RestartDone
    | SignAsked
    | RecordingOpened
    | RecordingLost
    | RecordingUnreadable
    | Pulled
    | CoverageKnown
    | UserInterrupt
)

# --- actions -------------------------------------------------------------------------------------------------------


class Show(Struct, frozen=True):
    """Give an output of the code to the caller. No answer."""

    event: messages.Event


class Ask(Struct, frozen=True):
    """Ask the user for a line of input. Answer: `Answered`."""

    prompt: str
    password: bool


class Respond(Struct, frozen=True):
    """Answer a request that is no part of Jupyter's protocol, if it can be. No answer, or `Disconnected`."""

    message: messages.Message


class SendInput(Struct, frozen=True):
    """Send an input reply. No answer, or `Disconnected`."""

    value: Any


class Reconnect(Struct, frozen=True):
    """Replace the socket that `cause` closed. Answer: `Reconnected` or `ReconnectFailed`."""

    cause: errors.ConnectionFailed


class Interrupt(Struct, frozen=True):
    """Interrupt the kernel. Answer: `InterruptSent`."""


class Restart(Struct, frozen=True):
    """Restart the kernel. Answer: `RestartDone`."""


class Probe(Struct, frozen=True):
    """Ask the server for the kernel's state. Answer: `KernelState` or `KernelGone`."""


class AskForSign(Struct, frozen=True):
    """Ask the kernel for something that it publishes where its output goes. Answer: `SignAsked`."""


class OpenRecording(Struct, frozen=True):
    """Open the recording behind the message of that id. Answer: `RecordingOpened`, `…Lost` or `…Unreadable`."""

    after: str | None


class Pull(Struct, frozen=True):
    """Read on in the recording. Answer: `Pulled`, `RecordingLost` or `RecordingUnreadable`."""


class CheckCoverage(Struct, frozen=True):
    """Have the recorder write down everything, and ask since when it has been there. Answer: `CoverageKnown`."""


class CloseRecording(Struct, frozen=True):
    """Nothing more is read from the recording. No answer."""


class AwaitKernel(Struct, frozen=True):
    """Wait until the kernel that was started in place of the dead one answers. No answer."""


Action = (
    Show
    | Ask
    | Respond
    | SendInput
    | Reconnect
    | Interrupt
    | Restart
    | Probe
    | AskForSign
    | OpenRecording
    | Pull
    | CheckCoverage
    | CloseRecording
    | AwaitKernel
)
