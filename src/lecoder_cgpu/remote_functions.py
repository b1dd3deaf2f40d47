"""`@remote`: a function that is executed on a runtime and returns its value, or raises its exception, here.

    from lecoder_cgpu import remote

    @remote(gpu="T4")
    def train(rate: float) -> float: ...

    loss = train(0.01)

The function and its arguments travel as a pickle (cloudpickle, extra `remote`), so closures and functions of a script
work. Both sides need cloudpickle and the same minor version of Python, because a function travels as byte code. The
answer is a pickle, too, and a pickle can run code here: use this only with runtimes that you trust.
"""

from __future__ import annotations

import base64
import pickle
import queue
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import update_wrapper
from typing import Any, Generic, ParamSpec, TypeVar, overload

from . import errors
from .api.client import Client
from .api.outcomes import checked
from .api.session import OnOutput, Session
from .jupyter import messages

P = ParamSpec("P")
R = TypeVar("R")

MIME = "application/vnd.lecoder-cgpu.remote+json"

# Executed in the kernel. It uses one name and deletes it, so that nothing stays there. The answer is a display, because
# the recording holds displays complete, whatever their size.
_CODE = """
def _lecoder_remote(payload, python):
    import base64, sys, traceback
    from IPython.display import publish_display_data

    def answer(**content):
        publish_display_data({{{mime!r}: content}})

    if list(sys.version_info[:2]) != python:
        return answer(python=list(sys.version_info[:2]))
    import cloudpickle

    def packed(thing):
        return base64.b64encode(cloudpickle.dumps(thing)).decode()

    function, arguments, options = cloudpickle.loads(base64.b64decode(payload))
    try:
        value = function(*arguments, **options)
    except Exception as error:
        text = "".join(traceback.format_exception(type(error), error, error.__traceback__.tb_next))
        try:
            pickled = packed(error)
        except Exception:
            pickled = None
        return answer(name=type(error).__name__, message=str(error), traceback=text, error=pickled)
    answer(value=packed(value))

try:
    _lecoder_remote({payload!r}, {python!r})
finally:
    del _lecoder_remote
"""


class RemoteTraceback(Exception):
    """The cause of an exception that was raised on a runtime; its text is the traceback there."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f"\n{self.text}"


class RemoteFunction(Generic[P, R]):
    """A function whose calls are executed on a runtime. `__wrapped__` is the plain function, which runs here."""

    __wrapped__: Callable[P, R]

    def __init__(self, function: Callable[P, R], session: Callable[[], Session], on_output: OnOutput | None) -> None:
        update_wrapper(self, function)
        self._find_session = session
        self._session: Session | None = None
        self._on_output = on_output

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function on the runtime.

        Raises:
            Exception: the exception that the function raised, with the remote traceback as its cause.
            errors.ImportFailure: the runtime has no cloudpickle. errors.UsageError: (`PythonMismatch`) the versions of
                Python differ, or (`NotPicklable`) the function or an argument cannot be pickled.
            errors.Error: the runtime could not be reached, was lost, or the kernel died.
        """
        result: R = _call(self._place(), self.__wrapped__, args, kwargs, self._on_output)
        return result

    def map(self, items: Iterable[Any], *, sessions: Sequence[Session] = ()) -> Iterator[R]:
        """Call the function for every item, on several sessions at once, and yield the values in the items' order.

        The first failure is raised in its place; calls that have not begun by then are not made.

        Args:
            sessions: the sessions to use; the function's own session if there are none.
        """
        places = list(sessions) or [self._place()]
        return _map(self.__wrapped__, list(items), places, self._on_output)

    def _place(self) -> Session:
        if self._session is None:
            self._session = self._find_session()
        return self._session


@overload
def remote(function: Callable[P, R], /) -> RemoteFunction[P, R]: ...
@overload
def remote(
    *,
    session: Session | str | None = None,
    client: Client | None = None,
    gpu: str | None = None,
    tpu: bool = False,
    cpu: bool = False,
    on_output: OnOutput | None = None,
) -> Callable[[Callable[P, R]], RemoteFunction[P, R]]: ...
def remote(
    function: Callable[..., Any] | None = None,
    /,
    *,
    session: Session | str | None = None,
    client: Client | None = None,
    gpu: str | None = None,
    tpu: bool = False,
    cpu: bool = False,
    on_output: OnOutput | None = None,
) -> Any:
    """Make calls of a function run on a runtime. The session is chosen at the first call.

    Args:
        session: the session or its name; None for the one that `Client.session` chooses.
        client: the client whose sessions are used; None for one with the settings of the environment and `config.json`.
        gpu, tpu, cpu: the kind of runtime to ask for.
        on_output: called with what the function prints (stream name, text) as it comes.
    """

    def find() -> Session:
        if isinstance(session, Session):
            return session
        return (client or Client()).session(session, gpu=gpu, tpu=tpu, cpu=cpu)

    def decorate(target: Callable[P, R]) -> RemoteFunction[P, R]:
        return RemoteFunction(target, find, on_output)

    return decorate if function is None else decorate(function)


def _call(
    session: Session,
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    on_output: OnOutput | None,
) -> Any:
    answers: list[dict[str, Any]] = []

    def take(event: messages.Event) -> None:
        if isinstance(event, messages.Display) and MIME in event.data:
            answers.append(event.data[MIME])
        elif isinstance(event, messages.Stream) and on_output is not None:
            on_output(event.name, event.text)

    payload = base64.b64encode(_dumps((function, args, kwargs))).decode()
    code = _CODE.format(mime=MIME, payload=payload, python=list(sys.version_info[:2]))
    with session._hold() as held:
        held.require_python("a remote function")
    document = checked(session.run(code, on_event=take))
    if not answers:
        raise errors.ConnectionFailed(
            "the function's answer was lost on the way",
            name="ResultLost",
            retryable=False,
            hint="call it again, if that does no harm",
        )
    answer = answers[-1]
    if "value" in answer:
        return pickle.loads(base64.b64decode(answer["value"]))  # noqa: S301 - from the runtime that we were told to trust
    if "python" in answer:
        there, here = (".".join(str(part) for part in version) for version in (answer["python"], sys.version_info[:2]))
        raise errors.UsageError(
            f"a function of Python {here} cannot be executed by the runtime's Python {there}",
            name="PythonMismatch",
            hint=f"run this program with Python {there}, or use Session.run",
        )
    raise _exception(answer, document) from RemoteTraceback(answer["traceback"])


def _dumps(thing: Any) -> bytes:
    try:
        import cloudpickle
    except ImportError as error:
        raise errors.MissingExtra(
            "remote functions need cloudpickle, which the extra 'remote' installs",
            hint='pip install "lecoder-cgpu[remote]"',
        ) from error
    try:
        pickled: bytes = cloudpickle.dumps(thing)
    except Exception as error:
        raise errors.UsageError(
            f"the function or an argument cannot be pickled: {error}",
            name="NotPicklable",
            hint="leave out open files, locks and connections; open them inside the function",
        ) from error
    return pickled


def _exception(answer: dict[str, Any], document: Any) -> BaseException:
    """The exception that the function raised; if it cannot be unpickled here, an error that describes it."""
    if answer["error"] is not None:
        try:
            found = pickle.loads(base64.b64decode(answer["error"]))  # noqa: S301 - as above
            if isinstance(found, BaseException):
                return found
        except Exception as problem:
            answer["message"] += f" (the exception cannot be made here: {problem})"
    error = errors.RuntimeFailure(f"{answer['name']}: {answer['message']}", name=answer["name"])
    error.run = document
    return error


def _map(
    function: Callable[..., Any], items: list[Any], sessions: list[Session], on_output: OnOutput | None
) -> Iterator[Any]:
    waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
    for index in range(len(items)):
        waiting.put(index)
    done: list[queue.SimpleQueue[tuple[Any, BaseException | None]]] = [queue.SimpleQueue() for _ in items]
    stop = threading.Event()

    def work(session: Session) -> None:
        while not stop.is_set():
            try:
                index = waiting.get_nowait()
            except queue.Empty:
                return
            try:
                done[index].put((_call(session, function, (items[index],), {}, on_output), None))
            except BaseException as problem:
                done[index].put((None, problem))

    for session in sessions:
        threading.Thread(target=work, args=(session,), daemon=True).start()
    try:
        for answer in done:
            value, problem = answer.get()
            if problem is not None:
                raise problem
            yield value
    finally:
        stop.set()
