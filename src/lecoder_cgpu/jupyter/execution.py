"""The state machine of one `execute_request`, without a socket or a clock: messages in, events out.

An execution is fed with every message of the socket. It tells what happened as events, and it knows when the run is
over: a reply on the shell channel *and* `status: idle` on iopub, in whichever order they come (the channels are not
ordered among each other, protocol J4).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Literal

from msgspec import Struct, structs

from ..system import logs
from . import messages
from .message_numbers import MessageNumbers
from .widgets import Widgets

# jupyter_server writes these notices itself when its rate limits make it drop iopub messages (protocol J1).
_DROP_NOTICES = ("IOPub data rate exceeded.", "IOPub message rate exceeded.")

# Messages that belong to an execution by Jupyter's specification; kernels send others, too.
EXECUTION_TYPES = frozenset(
    (
        "stream", "display_data", "update_display_data", "execute_result", "clear_output", "error", "execute_input",
        "status", "execute_reply", "input_request", "lecoder_reply",
        "comm_open", "comm_msg",
    )
)  # fmt: skip


RESTARTED = "the kernel died and was restarted by the server"
GONE = "the kernel is gone"  # the server does not know it any more: it was ended there, or the server was restarted
_CLASS = re.compile(r"<class '(?:[\w.]*\.)?(\w+)'>")
_RUN = re.compile(r"run-[0-9a-f]{16}")
MOST_LATE = 20  # runs that are named because they printed late
_DISPLAYS = frozenset(("display_data", "update_display_data", "execute_result"))
_OUTPUTS = _DISPLAYS | {"stream", "error", "clear_output"}
_UNPUBLISHED = {"execute_reply", "input_request"}  # the real ones come on channels of their own
ORDERED = _OUTPUTS | {"comm_open", "comm_msg"}  # what these mean depends on the messages before them


class Raised(Struct, frozen=True):
    """The exception that ended the code. `traceback` lines may contain ANSI colour sequences."""

    name: str
    message: str
    traceback: list[str]


class Execution:
    """One `execute_request`, from sending to the end.

    Feed it every message with `receive`. `finished` is true when nothing more can come: reply and idle were seen, the
    request was aborted, or the kernel died (`death` then says how).
    """

    def __init__(self, msg_id: str) -> None:
        self.msg_id = msg_id
        self._started = False
        self.on_start: Callable[[], None] | None = None  # called once, when the kernel takes the code up
        self._taken_up = False  # the kernel has published that it executes the code
        self.idle = False
        self.status: Literal["ok", "error", "aborted"] | None = None
        self.execution_count: int | None = None
        self.raised: Raised | None = None  # by the kernel's reply (protocol J34)
        self.shell_exit: int | None = None  # of the last `!command`, if it failed
        self._shown: Raised | None = None  # the last exception that was shown
        self._note: dict[str, Any] | None = None  # the reply as the recorder has the kernel publish it
        self.death: str | None = None
        self.restarted = False  # the kernel died before it published anything of this run
        self.user_expressions: dict[str, Any] = {}
        self.inputs = 0  # how often the code asked for input
        self.unreadable = 0  # frames that came meanwhile and were no messages
        self._odd: set[str] = set()
        self._damaged: set[str] = set()  # own messages that were not UTF-8, until they come once more
        self.late: list[str] = []  # earlier runs whose tasks and threads have printed meanwhile
        self.widgets = Widgets(msg_id)
        self._numbers = MessageNumbers(msg_id)

    def identify(self, msg_id: str) -> None:
        """Say which request this is, where that is known only now. Numbers are not looked at then."""
        self.msg_id = msg_id
        self.widgets = Widgets(msg_id)

    def plain_value(self, name: str) -> str | None:
        """The value of a user expression as the kernel prints it; None when it failed, or none came."""
        text = _object(_object(self.user_expressions, name), "data").get("text/plain")
        return text if isinstance(text, str) else None

    @property
    def started(self) -> bool:
        """Whether the kernel has taken the code up."""
        return self._started

    def _start(self) -> None:
        if not self._started and self.on_start is not None:
            self.on_start()
        self._started = True

    @property
    def replied(self) -> bool:
        return self.status is not None

    @property
    def published(self) -> bool:
        """Whether the kernel has published its reply, so that the recorder knows it as well."""
        return self._note is not None

    def verdict(self) -> dict[str, Any]:
        """What the kernel's reply says of the end, as a reply does."""
        raised = self.raised or Raised("", "", [])
        return {"status": self.status, "ename": raised.name, "evalue": raised.message, "traceback": raised.traceback}

    @property
    def finished(self) -> bool:
        return self.death is not None or self.status == "aborted" or (self.replied and self.idle)

    @property
    def died_silently(self) -> bool:
        """Whether the kernel's process ended before it could say how the code did."""
        return self.death is not None and not self.replied

    @property
    def missing(self) -> int:
        """How many messages of the kernel were lost. Always 0 for a kernel that does not number its messages."""
        return self._numbers.missing

    @property
    def counted(self) -> bool:
        """Whether the kernel numbers its messages, so that each one that is lost leaves a gap."""
        return self._numbers.counted

    @property
    def has_gap(self) -> bool:
        """Whether messages are missing before one that came, as far as is known now; they may still come."""
        return self._numbers.has_gap

    @property
    def is_whole(self) -> bool:
        """Whether it is certain that everything came: the kernel numbers its messages, and none is missing."""
        return self._numbers.are_whole and not self._damaged

    def note(self, message: messages.Message) -> None:
        """Count a message that is taken later, or never. It may come again."""
        self._numbers.note(message)
        if message.parent == self.msg_id and message.repaired:
            self._damaged.add(message.header.msg_id)

    def receive(self, message: messages.Message) -> messages.Event | None:
        """Take one message. Returns what the run shows or asks by it; None when that is nothing."""
        self.note(message)
        if message.type == "status" and self._is_death(message):
            return None
        if message.parent != self.msg_id:
            self._note_late(message)
            return None
        content = message.content
        if message.channel == "iopub" and message.type in _UNPUBLISHED:  # by code, which can publish anything
            return None
        if not message.repaired:
            self._damaged.discard(message.header.msg_id)
        if self.makes_no_sense(message):
            self._pass_over(message)
            if message.type in _OUTPUTS:
                return None
        else:
            self._odd.discard(message.header.msg_id)
        match message.type:
            case "stream":
                return self._stream(content)
            case "display_data" | "update_display_data":
                return _display(content, self.widgets.capturing, update=message.type == "update_display_data")
            case "execute_result":
                self._count(content)
                return _display(content, self.widgets.capturing, result=True)
            case "clear_output":
                return messages.Clear(bool(content.get("wait")), self.widgets.capturing)
            case "comm_open" | "comm_msg":
                self.widgets.take(message.type, content, message.buffers)
            case "error":
                self._shown = _raised(content)
                self._prefer_shown()
                shown = self._shown
                return messages.Failure(shown.name, shown.message, shown.traceback, self.widgets.capturing)
            case "lecoder_reply":
                self._take_note(content)
            case "execute_input":
                self._taken_up = True
                self._start()
                self._count(content)
            case "status":
                state = content.get("execution_state")
                if state == "busy":
                    self._start()
                self.idle = self.idle or state == "idle"
            case "execute_reply":
                self._reply(content)
                return _page(content)
            case "input_request":
                self.inputs += 1
                return messages.InputRequested(str(content.get("prompt", "")), bool(content.get("password")))
        return None

    def _note_late(self, message: messages.Message) -> None:
        """While this run is executed, no other one is; what another one shows now, it shows after its end."""
        run, executed = message.parent, self._taken_up and not self.idle
        late = executed and message.type in _OUTPUTS and _RUN.fullmatch(run) is not None
        if late and run not in self.late and len(self.late) < MOST_LATE:
            self.late.append(run)

    @property
    def passed_over(self) -> int:
        """How many messages were left out because they make no sense; a frame that is no message may have been ours."""
        return self.unreadable + len(self._odd)

    @property
    def unaccounted(self) -> int:
        """How many of those may have been output of this run; where messages are numbered, `missing` counts frames."""
        return len(self._odd) + (0 if self._numbers.counted else self.unreadable)

    def makes_no_sense(self, message: messages.Message) -> bool:
        """Whether a part of it has a wrong type."""
        return message.odd or (message.type in _DISPLAYS and not isinstance(message.content.get("data"), dict))

    def _pass_over(self, message: messages.Message) -> None:
        if message.repaired:  # the watch reads it again from the recording, or says that output is missing
            return
        if message.header.msg_id not in self._odd:  # it may come twice: over the socket, and from the recording
            self._odd.add(message.header.msg_id)
            what = f"passed over a message of type {message.type!r}: a part has a wrong type"
            logs.current().debug("RUN", what, {"run": self.msg_id})

    def conclude(self, *, whole: bool = False) -> None:
        """Conclude how a run ended whose reply was lost. `status` stays None when nobody can know it.

        Args:
            whole: nothing of what was published is missing. A kernel publishes `execute_input` before it executes code,
                so without one it has dropped the request (protocol J8).
        """
        if self.replied:
            return
        if self._note is not None:
            self._reply(self._note)
        elif whole and self.execution_count is None and self._shown is None:
            self.status = "aborted"

    def _is_death(self, message: messages.Message) -> bool:
        """Whether this status ends the run. The server reports a crash as `restarting` or `dead` to every client. A
        restart that another client asked for shows only as `starting` on a kernel that was busy (protocol J6). The new
        process may still execute a request that the old one had not begun.
        """
        state = message.content.get("execution_state")
        if state in ("restarting", "autorestarting"):
            self.restarted = not self.started
            self.death = None if self.restarted else RESTARTED
        elif state in ("dead", "terminating"):
            self.death = "the kernel died"
        elif state == "starting" and self.started and not self.replied:
            self.death = "the kernel was restarted"
        return self.death is not None

    def _count(self, content: dict[str, Any]) -> None:
        count = content.get("execution_count")
        if type(count) is int:  # `True` is an int to Python
            self.execution_count = count

    def _stream(self, content: dict[str, Any]) -> messages.Event:
        text = str(content.get("text", ""))
        if content.get("name") == "stderr":
            if text.lstrip().startswith(_DROP_NOTICES):
                return messages.Dropped(text)
            return messages.Stream("stderr", text, self.widgets.capturing)
        return messages.Stream("stdout", text, self.widgets.capturing)

    def _reply(self, content: dict[str, Any]) -> None:
        status = content.get("status")
        # Kernels older than protocol 5 say "abort" for "aborted".
        aborted = status in ("aborted", "abort")
        self.status = "aborted" if aborted and not self._taken_up else "ok" if status == "ok" else "error"
        self._count(content)
        self.user_expressions = _object(content, "user_expressions")
        if self.status == "error" and aborted:  # what was taken up was not dropped: it was interrupted (protocol J36)
            self.raised = Raised("KeyboardInterrupt", "the code was interrupted", [])
        elif self.status == "error":
            self.raised = _raised(content)
            self._prefer_shown()

    def _prefer_shown(self) -> None:
        """Some replies do not tell of the exception what was shown of it."""
        shown, raised = self._shown, self.raised
        if shown is None or raised is None:
            return
        if _is_nothing(raised.name) or (raised.name == shown.name and not raised.traceback):
            raised = shown
        if found := _CLASS.fullmatch(raised.name):  # xeus-python writes names so
            raised = structs.replace(raised, name=found[1])
        self.raised = raised

    def _take_note(self, content: dict[str, Any]) -> None:
        self._note = content
        unsent, shell_exit = content.get("unsent"), content.get("shellExit")
        self._numbers.take_unsent(unsent if type(unsent) is int and unsent > 0 else 0)
        self.shell_exit = shell_exit if type(shell_exit) is int else None


def _page(content: dict[str, Any]) -> messages.Display | None:
    """What IPython gives a pager to show (`name?`): it comes with the reply (protocol J17)."""
    pages = [item for item in _list(content, "payload") if isinstance(item, dict) and item.get("source") == "page"]
    return messages.Display(_object(pages[-1], "data"), {}) if pages else None


# Any code can publish any message in a kernel, so the fields of a content may have any type.


def _object(content: dict[str, Any], name: str) -> dict[str, Any]:
    """That field, if it is an object, else an empty one."""
    value = content.get(name)
    return value if isinstance(value, dict) else {}


def _list(content: dict[str, Any], name: str) -> list[Any]:
    """That field, if it is a list, else an empty one."""
    value = content.get(name)
    return value if isinstance(value, list) else []


def _display(
    content: dict[str, Any], widget: str | None, *, update: bool = False, result: bool = False
) -> messages.Display:
    identity = _object(content, "transient").get("display_id")
    return messages.Display(
        _object(content, "data"),
        _object(content, "metadata"),
        identity if isinstance(identity, str) else None,
        update,
        result,
        widget,
    )


def _raised(content: dict[str, Any]) -> Raised:
    return Raised(
        str(content.get("ename", "")),
        str(content.get("evalue", "")),
        [str(line) for line in _list(content, "traceback")],
    )


def _is_nothing(name: str) -> bool:
    """Whether it is no exception's name: what ipykernel 7.4 says of an exception in `__repr__`."""
    return name in ("", "NoneType")
