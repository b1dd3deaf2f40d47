"""Everything that can go wrong, as one tree; the tree *is* the table of codes that users see.

    Error
    ├── CodeFailure               the user's own code or command failed
    │   ├── SyntaxFailure         1001 syntax
    │   ├── RuntimeFailure        1002 runtime
    │   ├── TimeoutFailure        1003 timeout  (a time-out that the user's code raised)
    │   ├── MemoryFailure         1004 memory
    │   ├── ImportFailure         1005 import
    │   ├── FileFailure           1006 io       (the user's code met a file, pipe or network error)
    │   └── UnknownFailure        1999 unknown
    ├── TimeLimit                 1003 timeout  (a limit on the work was reached)
    ├── ConnectionFailed          1006 io       (we could not talk to a server; retryable)
    ├── TransferError             1006 io       (a file could not be copied whole)
    ├── AuthError                 2001 auth
    ├── QuotaError                2002 quota
    ├── CapacityError             2003 capacity (retryable)
    ├── LostError                 2004 lost
    ├── NotFoundError             2005 not_found
    ├── UsageError                2006 usage
    ├── BlockedError              2007 blocked
    ├── BudgetError               2008 budget
    ├── ConfigError               2009 config
    └── InternalError             2099 internal (a bug of ours)

Failures that are acted upon have a class below these, with the code of its parent; its name is the `name` that users
see. Catch the class, or look at `http_status`; never compare `name`. What Python has an exception for is that, too: put
`except Error: raise` before an `except OSError` around our calls. The failure of user code is data: a class of these in
a result, never raised. All else is raised, and `cli.main` alone turns it into a document and an exit status.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from .results import Install, NotebookRun, Run


class Error(Exception):
    """A failure with the code, category and exit status that users are promised.

    `message` says what was wrong, `hint` what to do next (a command or a sentence), `name` is for programs (the class'
    name when omitted). `retry_after`: seconds after which to ask again. `http_status`: the answer's."""

    code: ClassVar[int] = 2099
    category: ClassVar[str] = "internal"
    exit_status: int = 70
    retryable: bool = False
    description: ClassVar[str] = "The tool failed."
    reworded: ClassVar[Callable[[str], str]] = staticmethod(str)  # set by `api.suggestions`

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        name: str | None = None,
        retryable: bool | None = None,
        exit_status: int | None = None,
        retry_after: float | None = None,
        http_status: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message, self.hint, self.name = message, hint, name or type(self).__name__
        self.retry_after, self.http_status = retry_after, http_status
        self.run: Run | Install | NotebookRun | None = None  # what is known of the run that failed, where there is one
        self.retryable = self.retryable if retryable is None else retryable
        self.exit_status = self.exit_status if exit_status is None else exit_status

    @property
    def error_code(self) -> int:
        """`code`, as documents and results call it."""
        return self.code

    @property
    def exit_code(self) -> int:
        """`exit_status`, as documents and results call it."""
        return self.exit_status

    @property
    def suggestion(self) -> str | None:
        """`hint` in the library's words: methods stand for commands."""
        return None if self.hint is None else type(self).reworded(self.hint)


class CodeFailure(Error):
    """The user's code or command failed."""

    code = 1999
    category = "unknown"
    exit_status = 1
    description = "The code failed in a way that is not classified."


class SyntaxFailure(CodeFailure):
    code = 1001
    category = "syntax"
    description = "The code could not be parsed; nothing of it was executed."


class RuntimeFailure(CodeFailure):
    code = 1002
    category = "runtime"
    description = "The code ran and failed."


class TimeoutFailure(CodeFailure, TimeoutError):
    code = 1003
    category = "timeout"
    retryable = True
    description = "Something that the code waited for took too long."


class MemoryFailure(CodeFailure, MemoryError):
    code = 1004
    category = "memory"
    description = "The code ran out of memory."


class ImportFailure(CodeFailure, ImportError):  # type: ignore[misc]  # ImportError's `name` may be None
    code = 1005
    category = "import"
    description = "A module could not be imported."


class FileFailure(CodeFailure):
    code = 1006
    category = "io"
    description = "The code met an error of a file, a pipe or the network."


class UnknownFailure(CodeFailure):
    code = 1999


class TimeLimit(Error, TimeoutError):
    code = 1003
    category = "timeout"
    exit_status = 75
    retryable = True
    description = "A time limit was reached."


class ConnectionFailed(Error, ConnectionError):
    code = 1006
    category = "io"
    exit_status = 74
    retryable = True
    description = "The connection to a server failed."


class TransferError(Error):
    code = 1006
    category = "io"
    exit_status = 74
    description = "A file could not be transferred."


class AuthError(Error):
    code = 2001
    category = "auth"
    exit_status = 77
    description = "Not logged in, or the login does not allow this."


class QuotaError(Error):
    code = 2002
    category = "quota"
    exit_status = 69
    description = "The account is not entitled to this, or its usage limit is reached."


class CapacityError(Error):
    code = 2003
    category = "capacity"
    exit_status = 69
    retryable = True
    description = "No runtime of that kind is free now."


class LostError(Error):
    code = 2004
    category = "lost"
    exit_status = 74
    description = "The runtime is gone."


class NotFoundError(Error):
    code = 2005
    category = "not_found"
    exit_status = 66
    description = "There is no such thing."


class UsageError(Error):
    code = 2006
    category = "usage"
    exit_status = 2
    description = "The command was not understood."


class BlockedError(Error):
    code = 2007
    category = "blocked"
    exit_status = 69
    description = "The account is blocked; trying again makes it worse."


class BudgetError(Error):
    code = 2008
    category = "budget"
    exit_status = 69
    description = "A limit that you set was reached."


class ConfigError(Error):
    code = 2009
    category = "config"
    exit_status = 78
    description = "The configuration or the state on disk cannot be used."


class InternalError(Error):
    code = 2099
    description = "A bug in lecoder-cgpu."


class NameResolution(ConnectionFailed):
    """There is no host of that name."""


class ConnectionRefused(ConnectionFailed, ConnectionRefusedError):
    """Nothing listens at that address."""


class ConnectionTimeout(ConnectionFailed, TimeoutError):
    """No connection was made in time."""


class ReadTimeout(ConnectionFailed, TimeoutError):
    """A server took the request and did not answer in time; the request may have had an effect."""


class ServerError(ConnectionFailed):
    """A server failed (HTTP 5xx), or asked for fewer requests (429)."""


class RuntimeLost(LostError):
    """A runtime is gone, with the work that was on it."""


class Unlisted(ConnectionFailed):
    """The lender's listing lacks the runtime, and it is not known yet whether the runtime is gone."""


class Unanswered(ConnectionFailed):
    """A runtime was asked for, and it is not known yet whether the lender gives one."""


class RuntimeBusy(ConnectionFailed):
    """Another process is asking the lender about the same runtime, and goes on for too long."""


class RateLimited(ConnectionFailed):
    """Colab asks for fewer requests (HTTP 429)."""


class UnexpectedAnswer(ConnectionFailed):
    """The answer is not one that this kind of server gives."""

    retryable = False


class ServerStopped(ConnectionFailed):
    """A JupyterHub does not run the server now."""

    retryable = False


class HelperDead(ConnectionFailed):
    """The kernel of the helper on the runtime died, and the server gave up restarting it."""


class HelperSilent(ConnectionFailed):
    """The helper on the runtime does not answer."""


class HelperFailed(ConnectionFailed):
    """The helper could not be started on the runtime."""

    retryable = False


class NoFileService(ConnectionFailed):
    """The helper cannot pass on files, and the server does not either."""

    retryable = False


class NoProxy(ConnectionFailed):
    """Colab gives no address for a port of the runtime."""


class DriveFailed(ConnectionFailed):
    """Google Drive failed (HTTP 5xx)."""


class TooManyRuntimes(QuotaError):
    """The account may hold no further runtime. `endpoints` are those that it holds."""

    endpoints: tuple[str, ...] = ()


class NotEntitled(QuotaError):
    """The account may not use what was asked for, and waiting does not change it."""


class VerifyFailed(TransferError):
    """What arrived is not what was sent."""

    retryable = True


class FileChanged(TransferError):
    """A file was written while it was read."""


class PermissionDenied(TransferError, PermissionError):
    """The system does not allow it."""


class FetchBusy(TransferError):
    """Somebody else fetches the same now, or it is not the time for it any more."""


class PageLost(TransferError):
    """A listing that comes in pages has to be asked for again."""


class FileNotFound(NotFoundError, FileNotFoundError):
    """There is no such file, here or on the runtime."""


class TokenRefused(AuthError):
    """A server does not accept the token."""


class NotLoggedIn(AuthError):
    """There is no login."""


class LoginExpired(AuthError):
    """Google has ended the login."""


class Unauthorized(AuthError):
    """Google does not accept the access token (HTTP 401), or asks for a login."""


class Forbidden(AuthError):
    """Google refuses the request (HTTP 403) for a reason that has no name of its own."""


class ApiClosed(AuthError):
    """The Colab API is not open to this login (HTTP 403)."""


class ConsentDenied(AuthError):
    """The person, or an organisation's rules, refused consent on Google's page."""


class ScopeMissing(AuthError):
    """The login lacks a permission that the person did not give."""


class NoClient(AuthError):
    """There is no OAuth client to log in with."""


class BadArgument(UsageError, ValueError):
    """An argument of a call of the library, or of a tool, is not what it takes."""


class NoConnection(UsageError):
    """The kernel is out of the helper's reach."""


class OtherKindOfFile(UsageError):
    """A file where a folder was expected, or the reverse, or neither of them."""


class NoStdin(UsageError):
    """The command takes no input, or has closed it."""


class PythonMismatch(UsageError):
    """This Python has compiled a function that the runtime's cannot execute, and it cannot travel as source."""


class CodeTooLong(UsageError):
    """Code does not fit into a message, and nothing of it was executed."""


class KernelRefused(ConnectionFailed):
    """A server that accepts the token starts no kernel."""

    retryable = False


class MessageTooLarge(ConnectionFailed):
    """The socket was closed for the size of a message, which did not arrive, or of the answer to it."""

    size: int = 0  # bytes of the message that was sent


class LockHeld(ConfigError):
    """Another process holds the lock of a state file for too long."""


class MissingExtra(ConfigError, ImportError):  # type: ignore[misc]  # as above
    """A library is not installed that one of the extras brings."""


EXIT_STOPPED_WAITING = 124  # we stopped watching; the work goes on


def interrupted_status(interrupt: KeyboardInterrupt) -> int:
    """The exit status that a shell shows for what ended us: 130 for Ctrl-C, 143 for SIGTERM, 129 for SIGHUP."""
    return 128 + int(getattr(interrupt, "number", 2))


def tree() -> Iterator[type[Error]]:
    """Every class of the table, in the order of the drawing above: those that declare a code of their own."""
    return (kind for kind in subclasses(Error) if "code" in vars(kind) and kind is not CodeFailure)


def subclasses(kind: type[Error]) -> Iterator[type[Error]]:
    """Every class below this one, parents before their children, in the order in which they are written."""
    for child in kind.__subclasses__():
        yield child
        yield from subclasses(child)


__all__ = sorted(["EXIT_STOPPED_WAITING", "Error", *(kind.__name__ for kind in subclasses(Error))])


def __dir__() -> list[str]:
    return __all__
