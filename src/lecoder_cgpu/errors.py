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

The failure of user code is data: it is described by these classes but returned inside a result, never raised.
Everything else is raised, and `cli.main` alone turns it into a document and an exit status.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar


class Error(Exception):
    """A failure with the code, category and exit status that users are promised.

    `message` says what was wrong, `hint` what to do next (a command or one sentence), `name` is the short
    machine-readable name (the class name when omitted). `retry_after`: in so many seconds the other side wants to be
    asked again, when it said so.
    """

    code: ClassVar[int] = 2099
    category: ClassVar[str] = "internal"
    exit_status: int = 70
    retryable: bool = False
    retry_after: float | None = None
    description: ClassVar[str] = "The tool failed."
    http_status: int | None = None  # of the answer that was the failure, where there was one

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        name: str | None = None,
        retryable: bool | None = None,
        exit_status: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.name = name or type(self).__name__
        self.run: Any = None  # the document of the run that failed, where there is one
        if retryable is not None:
            self.retryable = retryable
        if exit_status is not None:
            self.exit_status = exit_status


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


class TimeoutFailure(CodeFailure):
    code = 1003
    category = "timeout"
    retryable = True
    description = "Something that the code waited for took too long."


class MemoryFailure(CodeFailure):
    code = 1004
    category = "memory"
    description = "The code ran out of memory."


class ImportFailure(CodeFailure):
    code = 1005
    category = "import"
    description = "A module could not be imported."


class FileFailure(CodeFailure):
    code = 1006
    category = "io"
    description = "The code met an error of a file, a pipe or the network."


class UnknownFailure(CodeFailure):
    pass


class TimeLimit(Error):
    code = 1003
    category = "timeout"
    exit_status = 75
    retryable = True
    description = "A time limit was reached."


class ConnectionFailed(Error):
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
    after: float | None = None  # seconds after which it may be tried again, when the service said so


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
    description = "A bug in lecoder-cgpu."


EXIT_STOPPED_WAITING = 124  # we stopped watching; the work goes on


def interrupted_status(interrupt: KeyboardInterrupt) -> int:
    """The exit status that a shell shows for what ended us: 130 for Ctrl-C, 143 for SIGTERM, 129 for SIGHUP."""
    return 128 + int(getattr(interrupt, "number", 2))


def tree() -> Iterator[type[Error]]:
    """Every concrete class of the table, in the order of the drawing above."""

    def walk(node: type[Error]) -> Iterator[type[Error]]:
        children = node.__subclasses__()
        if not children:
            yield node
        for child in children:
            yield from walk(child)

    yield from walk(Error)
