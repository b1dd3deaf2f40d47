"""One call of a function of the client's program, in the kernel. Executed as text, in names of its own.

The function and its arguments are read from a pickle, or the function from its source. The answer goes back as
displays, because recordings hold displays complete; a long one is put into a file first. Cloudpickle is needed only for
functions that travel as byte code. Everything comes from the client, and the kernel would execute any code of it.
"""

from __future__ import annotations

import base64
import importlib
import inspect
import linecache
import os
import pickle
import sys
import threading
import traceback
from collections.abc import Awaitable, Callable
from typing import Any

KEPT = 1 << 17  # bytes of an answer that a display may carry
LATE = 5.0  # seconds that a coroutine has to end when it is interrupted
MARK = "_lecoder_cgpu_calls"  # in `sys`, while a call is under way: remote functions are plain ones then


class Answers:
    """Sends what there is to tell, piece by piece."""

    def __init__(self, order: dict[str, Any]) -> None:
        self._mime = order["mime"]
        self._file = order.get("answers")  # the beginning of the names of files for long ones; None for none
        self._count = 0

    def send(self, kind: str, thing: Any = None, **more: Any) -> None:
        data = pickled(thing)
        if len(data) > KEPT and self._file is not None:
            self._count += 1
            path = f"{self._file}.{self._count}"
            os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
            with open(path, "wb") as target:
                target.write(data)
            more["file"] = path
        else:
            more["data"] = base64.b64encode(data).decode()
        self.tell(kind, **more)

    def tell(self, kind: str, **more: Any) -> None:
        from IPython.display import publish_display_data

        publish: Callable[..., None] = publish_display_data
        publish({self._mime: dict(more, kind=kind)})


class Loop:
    """Awaits things beside the kernel's own loop, which is running already."""

    def __init__(self) -> None:
        import asyncio

        self._loop = asyncio.new_event_loop()

    def run(self, awaitable: Awaitable[Any]) -> Any:
        found: dict[str, Any] = {}
        task = self._loop.create_task(_awaited(awaitable))

        def work() -> None:
            try:
                found["value"] = self._loop.run_until_complete(task)
            except BaseException as error:
                found["error"] = error

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        try:
            thread.join()
        except KeyboardInterrupt:
            self._loop.call_soon_threadsafe(task.cancel)
            thread.join(LATE)
            raise
        if "error" in found:
            raise found["error"]
        return found["value"]


async def _awaited(awaitable: Awaitable[Any]) -> Any:
    return await awaitable


def pickled(thing: Any) -> bytes:
    try:
        import cloudpickle
    except ImportError:
        return pickle.dumps(thing, 5)
    data: bytes = cloudpickle.dumps(thing, 5)
    return data


def call(order: dict[str, Any]) -> None:
    """Do the call, and answer."""
    answers = Answers(order)
    here = list(sys.version_info[:2])
    if order["source"] is None and here != order["python"]:
        answers.tell("python", python=here)
        return
    setattr(sys, MARK, getattr(sys, MARK, 0) + 1)
    try:
        function, arguments, options = read(order)
        try:
            give(answers, function(*arguments, **options))
        except SystemExit as error:
            if not order.get("exits"):
                raise
            answers.tell("exit", status=repr(error.code))
        except Exception as error:
            refuse(answers, error)
    finally:
        setattr(sys, MARK, getattr(sys, MARK) - 1)


def read(order: dict[str, Any]) -> tuple[Callable[..., Any], Any, Any]:
    """The function, its arguments and its options."""
    if order["file"] is not None:
        with open(order["file"], "rb") as source:
            data = source.read()
        os.unlink(order["file"])
    else:
        data = base64.b64decode(order["data"])
    if order["source"] is None:
        import cloudpickle

        function, arguments, options = cloudpickle.loads(data)
        return function, arguments, options
    arguments, options, values = pickle.loads(data)  # noqa: S301
    return of_source(order["source"], values), arguments, options


def of_source(source: dict[str, Any], values: dict[str, Any]) -> Callable[..., Any]:
    """The function that a text defines; `modules` are imported before, `values` are what else it uses."""
    name = f"<{source['name']} of the client>"
    names: dict[str, Any] = {"__name__": "lecoder_cgpu_function"}
    for alias, module in source["modules"].items():
        names[alias] = importlib.import_module(module)
    names.update(values)
    linecache.cache[name] = (len(source["text"]), None, source["text"].splitlines(True), name)
    exec(compile(source["text"], name, "exec"), names)  # noqa: S102
    function: Callable[..., Any] = names[source["name"]]
    return function


def give(answers: Answers, value: Any) -> None:
    """Send what the function returned, or all that it yields."""
    if inspect.isawaitable(value):
        value = Loop().run(value)
    if inspect.isgenerator(value):
        for item in value:
            answers.send("item", item)
        answers.tell("end")
    elif inspect.isasyncgen(value):
        loop = Loop()
        while True:
            try:
                item = loop.run(value.__anext__())
            except StopAsyncIteration:
                break
            answers.send("item", item)
        answers.tell("end")
    else:
        answers.send("value", value)


def refuse(answers: Answers, error: BaseException) -> None:
    """Send an exception: itself if its pickle can be read, else the parts that it can be made of."""
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_globals is globals():
        frames = frames.tb_next
    text = "".join(traceback.format_exception(type(error), error, frames))
    try:
        message = str(error)
    except Exception as problem:  # a class of the user's own
        message = f"its text cannot be shown: {type(problem).__name__}"
    said = {"name": type(error).__name__, "message": message, "traceback": text}
    for thing in (error, (type(error), error.args, error.__dict__), (type(error), error.args, {})):
        if can_travel(thing):
            answers.send("error", thing, **said)
            return
    answers.tell("error", **said)


def can_travel(thing: Any) -> bool:
    """Whether a pickle of it can be read again: not every exception can be made from its arguments."""
    try:
        pickle.loads(pickled(thing))  # noqa: S301
    except Exception:
        return False
    return True
