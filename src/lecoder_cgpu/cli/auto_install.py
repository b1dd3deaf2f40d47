"""`run --auto-install`: a run that lacked a package is repeated once, with the package installed."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ..errors import Error, ImportFailure
from ..models.base import ErrorInfo
from ..runs import installs
from ..sessions.session import Session
from .output import Printer

if TYPE_CHECKING:
    from ..models.notebooks import Install
    from ..models.runs import Run

ADVICE = "pip install "


def repaired(printer: Printer, session: Session, once: Callable[[], Run], record: Callable[[Run], None]) -> Run:
    """Run; when a package is missing, install it and run again from the beginning. What was done is told.

    Args:
        record: writes down the first attempt, if there is a second one.
    """
    first = once()
    package = missing(first)
    if package is None:
        return first

    def show(stream: str, content: bytes) -> None:
        if printer.mode == "human":  # stdout is for the program
            printer.write_error_stream(content)

    try:
        installed = installs.install(session, installs.Wanted(requirements=[package]), show)
        problem = _reason(installed)
    except Error as error:
        problem = error.message
    if problem is not None:
        printer.notify(f"{package} could not be installed: {problem}")
        return first
    printer.notify(f"{package} was missing and has been installed; the code was run again from its beginning")
    record(first)
    second = once()
    second.auto_installed = [package]
    return second


def _reason(installed: Install) -> str | None:
    """Why nothing was installed, in the installer's own last words; None when all went well."""
    if not isinstance(installed.error, ErrorInfo):
        return None
    said = installed.stderr.strip().splitlines() if isinstance(installed.stderr, str) else []
    return said[-1] if said else installed.error.message


def missing(document: Run) -> str | None:
    """The package whose absence ended a run; None when something else did."""
    if document.error_code != ImportFailure.code or not isinstance(document.error, ErrorInfo):
        return None
    advice = document.error.suggestion
    return advice.removeprefix(ADVICE) if isinstance(advice, str) and advice.startswith(ADVICE) else None
