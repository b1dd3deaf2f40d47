"""`--auto-install`: a run that lacked a package is repeated once, with the package installed.

What was done is told by `tell`; `show` gets what the installer prints (stream name, bytes).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ..errors import Error, ImportFailure
from ..models.base import ErrorInfo
from ..sessions.session import Session
from . import installs

if TYPE_CHECKING:
    from ..models.notebooks import Install
    from ..models.runs import Run

ADVICE = "pip install "
Tell = Callable[[str], None]
Show = Callable[[str, bytes], None]


def repaired(session: Session, once: Callable[[], Run], record: Callable[[Run], None], tell: Tell, show: Show) -> Run:
    """Run; when a package is missing, install it and run again from the beginning.

    Args:
        record: writes down the first attempt, if there is a second one.
    """
    first = once()
    package = missing(first)
    if package is None or not installed(session, package, "the code was run again from its beginning", tell, show):
        return first
    record(first)
    second = once()
    second.auto_installed = [package]
    return second


class CellRepair:
    """Installs what a notebook's cells lack, each package once; `packages` are those that were installed."""

    def __init__(self, session: Session, tell: Tell, show: Show) -> None:
        self.packages: list[str] = []
        self._tried: set[str] = set()
        self._session = session
        self._tell = tell
        self._show = show

    def __call__(self, run: Run) -> bool:
        """Whether the cell that ended like this is to run again."""
        package = missing(run)
        if package is None or package in self._tried:
            return False
        self._tried.add(package)
        if not installed(self._session, package, "the cell was run again", self._tell, self._show):
            return False
        self.packages.append(package)
        return True


def installed(session: Session, package: str, then: str, tell: Tell, show: Show) -> bool:
    """Install a package that was missing. What was done, or why not, is told."""
    try:
        problem = _reason(installs.install(session, installs.Wanted(requirements=[package]), show))
    except Error as error:
        problem = error.message
    if problem is not None:
        tell(f"{package} could not be installed: {problem}")
        return False
    tell(f"{package} was missing and has been installed; {then}")
    return True


def install_all(session: Session, packages: list[str], origin: str, tell: Tell, show: Show) -> None:
    """Install what a script asks for by itself, before it runs; what is there already is left alone.

    Raises:
        Error: that failed.
    """
    with session.waiting(f"installing what {origin} asks for …"):
        document = installs.install(session, installs.Wanted(requirements=packages), show)
    problem = _reason(document)
    if problem is not None:
        raise ImportFailure(
            f"what {origin} asks for could not be installed: {problem}",
            name="InstallFailed",
            hint=f"correct its header (# /// script), or see all of it: lecoder-cgpu run --attach {document.run_id}",
        )
    if isinstance(document.changed, list) and document.changed:
        tell(f"installed for {origin}: " + ", ".join(change.name for change in document.changed))


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
