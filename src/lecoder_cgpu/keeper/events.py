"""The vocabulary between the keeper's decisions (`decisions.py`) and what does them (`calls.py`, `daemon.py`).

Pure data. An action says what is to be done, an event says what has happened. Moments are Unix times in seconds.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from ..models.keeper import KeptSession
from ..store.leases import Reason
from ..store.session_store import Lease

Question = Literal["token", "ping", "listing", "work", "account", "release", "socket"]


class StoredSession(Struct, frozen=True, kw_only=True):
    """What the session store says of a session whose runtime is held.

    `stage`: `asked` (a runtime was asked for, and there is no answer yet), `kept` (there is a runtime), `closing` (it
    is to be released, and that is not confirmed yet). `lease` is None while none is stored; `created` is when the
    session was made, `used` when a command last used it. `token_due` is when the proxy token should be replaced, None
    without one. `address` is that of the runtime's proxy. `kernel` is the kernel over which a socket can be held.
    `ready`: the runtime has answered. `unlisted`: the lender's listing lacks it. `abandoned`: the command
    that the runtime was started for is gone.
    """

    id: str
    name: str
    backend: str
    stage: Literal["asked", "kept", "closing"]
    created: float
    endpoint: str = ""
    lease: Lease | None = None
    used: float | None = None
    token_due: float | None = None
    address: str | None = None
    kernel: str | None = None
    abandoned: bool = False
    ready: bool = True
    unlisted: bool = False


# --- events ---


class Looked(Struct, frozen=True):
    """The session store was read; these sessions are held. `pulls`: jobs are to be fetched from, or looked after."""

    sessions: tuple[StoredSession, ...]
    pulls: bool = False


class Unreadable(Struct, frozen=True):
    """The session store could not be read."""


class Refreshed(Struct, frozen=True):
    """The lender was asked for a session's runtime, and has it. Another token is stored if that was the question."""

    session: str
    question: Literal["token", "listing"]


class Pinged(Struct, frozen=True):
    """A ping was answered: taken, not needed (this control plane has none), or no such runtime is known."""

    session: str
    answer: Literal["taken", "not needed", "not found"]


class WorkSeen(Struct, frozen=True):
    """Whether the runtime works: its kernel or a process of the user's. None when it could not be asked.

    `ago`: seconds since it was last at work or in use, by whomever, as far as it tells.
    """

    session: str
    working: bool | None
    ago: float | None = None


class AccountSeen(Struct, frozen=True):
    """What a backend's account burns, in compute units an hour; None when the lender does not say."""

    backend: str
    rate: float | None


class Released(Struct, frozen=True):
    """The runtime was given back; `done` is false while the lender has not confirmed it."""

    session: str
    done: bool


class Outdated(Struct, frozen=True):
    """The runtime was not released: its session was used, or its lease changed, after that was decided."""

    session: str


class SocketOpened(Struct, frozen=True):
    """A kernel's socket is open, over this address."""

    session: str
    address: str


class SocketEnded(Struct, frozen=True):
    """The socket was closed from the other end."""

    session: str


class Lost(Struct, frozen=True):
    """The runtime is gone: the lender is certain of that, and the store says so. `question`: what was asked of it."""

    session: str
    question: Question


class Failed(Struct, frozen=True):
    """A question could not be answered, or an action could not be done. `backend` is given for an account's."""

    session: str
    question: Question
    message: str
    backend: str = ""


Event = (
    Looked | Unreadable | Refreshed | Pinged | WorkSeen | AccountSeen | Released | Outdated
    | SocketOpened | SocketEnded | Lost | Failed
)  # fmt: skip


# --- actions that take time: each is followed by exactly one event ---


class Refresh(Struct, frozen=True):
    """Ask the lender for another token (`token`), or whether the runtime is there (`listing`)."""

    session: str
    question: Literal["token", "listing"]


class Ping(Struct, frozen=True):
    """Tell the lender that the runtime is still wanted."""

    session: str
    question: Literal["ping"] = "ping"


class AskWork(Struct, frozen=True):
    """Ask the runtime whether it works, and tell it when it shall release itself should nobody come back.

    `seconds` is the time that is left, `idle` the time without work; None for no limit.
    """

    session: str
    seconds: float | None
    idle: float | None
    question: Literal["work"] = "work"


class AskAccount(Struct, frozen=True):
    """Ask what a backend's account burns."""

    backend: str
    session: str = ""  # of all
    question: Literal["account"] = "account"


class Release(Struct, frozen=True):
    """Give the runtime back, after writing down why. `reason` is None when that was written already.

    `lease` and `used` are what the decision rests on. If the store has another limit by now, or a later use of an idle
    session, nothing is released (`Outdated`).
    """

    session: str
    reason: Reason | None
    lease: Lease
    used: float | None
    question: Literal["release"] = "release"


class OpenSocket(Struct, frozen=True):
    """Open a socket to this kernel, and hold it."""

    session: str
    kernel: str
    question: Literal["socket"] = "socket"


Call = Refresh | Ping | AskWork | AskAccount | Release | OpenSocket


# --- actions that are done at once, and that no event follows ---


class CloseSocket(Struct, frozen=True):
    """Let go of the socket that is held."""

    session: str


class Note(Struct, frozen=True):
    """Write work and cost into the stored lease, as long as it is the same one (it has the same `began`)."""

    session: str
    lease: Lease


class SetBack(Struct, frozen=True):
    """Write down that nothing of a session's lease and use is later than now: the clock was set back."""

    session: str


class Report(Struct, frozen=True):
    """Write the keeper's record."""

    sessions: tuple[KeptSession, ...]


class Withdraw(Struct, frozen=True):
    """Remove the keeper's record, then look at the sessions for the last time."""


class End(Struct, frozen=True):
    """End the keeper."""

    why: str


Action = Call | CloseSocket | Note | SetBack | Report | Withdraw | End
