"""One call of a function on a runtime: what is sent, what is executed there, and what comes back."""

from __future__ import annotations

import base64
import inspect
import os
import pickle
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from .. import errors
from ..api import running
from ..api.outcomes import ended
from ..api.session import OnOutput, Session
from ..helper.bootstrap import GUEST
from ..jupyter import messages
from ..jupyter.messages import new_run_id
from ..jupyter.watch_limits import WatchLimits
from . import travel

__all__ = ["Call", "finished", "items", "value"]

MIME = "application/vnd.lecoder-cgpu.remote+json"
SENT_INSIDE = 1 << 17  # bytes of a function and its arguments that the code itself carries
NO_FILES = 5 << 20  # the same where the runtime's files cannot be reached; servers refuse longer messages

# Executed in the kernel. It uses one name and deletes it, so that nothing stays there.
_CODE = """
def _lecoder_remote(source, order):
    names = {{"__name__": "lecoder_cgpu_call"}}
    exec(compile(source, "<lecoder-cgpu>", "exec"), names)
    names["call"](order)
try:
    _lecoder_remote({source!r}, {order!r})
finally:
    del _lecoder_remote
"""


@dataclass
class Call:
    """A function with its arguments. `shown` is how the history names the call. With `exits`, `sys.exit` in it is a
    failure of the call, and of nothing else."""

    function: Callable[..., Any]
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    on_output: OnOutput = lambda stream, text: None
    timeout: float | None = None
    exits: bool = False

    @property
    def shown(self) -> str:
        return f"@remote {getattr(self.function, '__qualname__', self.function)}"


def finished(session: Session, call: Call) -> Any:
    """The value of a call; of a generator, the list of what it yields."""
    if inspect.isgeneratorfunction(call.function) or inspect.isasyncgenfunction(call.function):
        return list(items(session, call))
    return value(session, call)


def value(session: Session, call: Call) -> Any:
    """What the function returns there; for a generator that it returns, an iterator over what that yields.

    Raises:
        Exception: what the function raised, with the traceback from there as a note.
        errors.UsageError: it cannot travel. errors.Error: it was not executed, or its answer is not known.
    """
    answers: list[dict[str, Any]] = []
    _perform(session, call, answers.append)
    if answers and answers[-1]["kind"] == "python":  # the kernel is another one than before; nothing was executed
        travel.forget(session)
        _perform(session, call, answers.append)
    if not answers:
        raise errors.ConnectionFailed(
            "the function's answer was lost on the way",
            name="ResultLost",
            retryable=False,
            hint="call it again, if that does no harm",
        )
    if answers[-1]["kind"] == "end":
        return iter([_taken(session, answer) for answer in answers if answer["kind"] == "item"])
    return _taken(session, answers[-1])


def items(session: Session, call: Call) -> Iterator[Any]:
    """What the function yields there, as it comes. Who stops earlier interrupts it."""
    waiting: SimpleQueue[dict[str, Any] | BaseException] = SimpleQueue()
    work = running.Work()

    def perform() -> None:
        try:
            with running.noted(work):
                _perform(session, call, waiting.put)
            waiting.put({"kind": "end"})
        except BaseException as problem:
            waiting.put(problem)

    thread = threading.Thread(target=perform, daemon=True)
    thread.start()
    try:
        while True:
            answer = waiting.get()
            if isinstance(answer, BaseException):
                raise answer
            if answer["kind"] == "end":
                return
            if (yield _taken(session, answer)) is not None:
                raise errors.UsageError(
                    "a generator on a runtime is sent nothing",
                    name="NotSent",
                    hint="give arguments, or call a function for each value",
                )
    finally:
        if thread.is_alive():
            work.stop()
            thread.join()


def _perform(session: Session, call: Call, take: Callable[[dict[str, Any]], None]) -> None:
    def hear(event: messages.Event) -> None:
        if isinstance(event, messages.Display) and MIME in event.data:
            take(event.data[MIME])
        elif isinstance(event, messages.Stream):
            call.on_output(event.name, event.text)

    code = _CODE.format(source=_source(), order=_ordered(session, call))
    ended(session._run(code, hear, WatchLimits(timeout=call.timeout), shown=call.shown), True)


def _ordered(session: Session, call: Call) -> dict[str, Any]:
    """What the kernel is told. What is long is sent as a file."""
    source = travel.source_for(session, call.function)
    home = _home(session)
    name = None if home is None else f"{home}/calls/{new_run_id()}"
    order: dict[str, Any] = {
        "mime": MIME,
        "python": travel.HERE,
        "source": None if source is None else source.text,
        "answers": name,
        "exits": call.exits,
        "data": None,
        "file": None,
    }
    with tempfile.TemporaryDirectory(prefix="lecoder-cgpu-") as folder:
        packed = os.path.join(folder, "call")
        with open(packed, "wb") as target:
            if source is None:
                travel.pack((call.function, call.args, call.kwargs), target)
            else:
                travel.pack_data((call.args, call.kwargs, source.values), target)
        size = os.path.getsize(packed)
        if size <= SENT_INSIDE or (name is None and size <= NO_FILES):
            order["data"] = base64.b64encode(Path(packed).read_bytes()).decode()
        elif name is None:
            raise errors.UsageError(
                f"the arguments have {size:,} bytes, and the runtime's files cannot be reached",
                name="TooLarge",
                hint="upload a file first (Session.upload), and give its path",
            )
        else:
            order["file"] = f"{name}.call"
            session.upload(packed, to=order["file"])
    return order


def _home(session: Session) -> str | None:
    """A folder on the runtime for what is long; None where its files are out of reach."""
    try:
        with session._storage() as files:
            hello = files.service.hello
    except errors.NoFileService:
        return None
    return None if hello is None else str(hello.home)


def _taken(session: Session, answer: dict[str, Any]) -> Any:
    """What an answer brings.

    Raises:
        Exception: what the function raised.
    """
    if answer["kind"] == "python":
        raise travel.mismatch(answer["python"], "the kernel is another one now")
    if answer["kind"] == "exit":
        raise errors.RuntimeFailure(f"the function called sys.exit({answer['status']})", name="SystemExit")
    if answer["kind"] == "error":
        raise _exception(answer, None if "data" not in answer and "file" not in answer else _content(session, answer))
    return _content(session, answer)


def _content(session: Session, answer: dict[str, Any]) -> Any:
    """The thing itself: unpickled here, because we were told to trust the runtime."""
    if "data" in answer:
        return pickle.loads(base64.b64decode(answer["data"]))  # noqa: S301
    path = answer["file"]
    with tempfile.TemporaryDirectory(prefix="lecoder-cgpu-") as folder, session._storage() as files:
        target = os.path.join(folder, "answer")
        files.download([path], target)
        files.remove([path], missing_ok=True)
        with open(target, "rb") as content:
            return pickle.load(content)  # noqa: S301


def _exception(answer: dict[str, Any], found: Any) -> BaseException:
    """The exception that the function raised; if it cannot be made here, an error that describes it."""
    if isinstance(found, tuple):
        kind, args, state = found
        found = kind.__new__(kind, *args)
        found.args = args
        found.__dict__.update(state)
    error = found if isinstance(found, BaseException) else None
    error = error or errors.RuntimeFailure(f"{answer['name']}: {answer['message']}", name=answer["name"])
    error.add_note(f"On the runtime:\n{answer['traceback']}")
    return error


@cache
def _source() -> str:
    return (Path(GUEST) / "remote_call.py").read_text("utf-8")
