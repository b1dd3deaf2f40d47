"""An engine for papermill: `papermill --engine lecoder-cgpu IN OUT` runs the cells on the active session's runtime.

papermill asks for `RuntimeEngine` by the entry point `papermill.engine` while it is imported, also when it uses another
engine. So everything else is imported when a notebook runs, and papermill itself when the engine is asked for: whoever
imports this module first would find it half made. `papermill.execute_notebook(…, engine_name="lecoder-cgpu",
session="NAME")` chooses a session by its name, and `profile="NAME"` a profile.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

from . import papermill_metadata

if TYPE_CHECKING:
    RuntimeEngine: Any

    from ..jupyter.messages import Event
    from ..models.notebooks import CellResult
    from .document import Step


def __getattr__(name: str) -> Any:
    if name != "RuntimeEngine":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from papermill.engines import Engine  # asks for the engine itself, if it was not imported before

    return _engine(Engine)


@cache
def _engine(base: type) -> type:
    """The engine, as a class of papermill's."""
    return type("RuntimeEngine", (_Runs, base), {"__module__": __name__, "__doc__": _Runs.__doc__})


def _log() -> logging.Logger:
    """papermill's."""
    from papermill.log import logger

    found: logging.Logger = logger
    return found


class _Runs:
    """Executes notebooks on a runtime; parameters, files and the progress bar are papermill's."""

    @classmethod
    def nb_kernel_name(cls, nb: Any, name: str | None = None) -> str:
        """The kernel that the notebook names; the runtime has one of its own, so it need not name any."""
        return str(name or (nb.metadata.get("kernelspec") or {}).get("name") or "python3")

    @classmethod
    def nb_language(cls, nb: Any, language: str | None = None) -> str:
        """The language that the notebook names, for papermill's parameters."""
        spec, info = nb.metadata.get("kernelspec") or {}, nb.metadata.get("language_info") or {}
        return str(language or spec.get("language") or info.get("name") or "python")

    @classmethod
    def execute_managed_notebook(
        cls,
        nb_man: Any,
        kernel_name: str,
        log_output: bool = False,
        execution_timeout: float | None = None,
        session: str | None = None,
        profile: str | None = None,
        **options: Any,
    ) -> None:
        """Run the cells of `nb_man.nb`; see papermill's `Engine`.

        Args:
            execution_timeout: seconds for each cell.
            session: name or id of a stored session. Default: the active one, else a new one.
            profile: the profile to act for. Default: that of the environment, else the one in use.
            options: of papermill; `stdout_file` and `stderr_file` get the output as it comes.

        Raises:
            errors.Error: there is no such session, no runtime, or the notebook ended for another reason than an error
                of a cell, which papermill itself raises.
        """
        from .. import errors
        from ..config import Config
        from ..models.base import ErrorInfo
        from ..sessions.manager import SessionManager
        from . import document, kernels, runs
        from .options import NotebookOptions

        logging.getLogger("httpx2").setLevel(logging.WARNING)  # papermill shows what libraries tell of each request
        files = {"stdout": options.get("stdout_file"), "stderr": options.get("stderr_file")}
        content = document.library().from_dict(nb_man.nb)  # a copy: ours has plain outputs, which papermill cannot read
        observer = _Reporter(nb_man, content, files, log_output)
        progress = runs.NotebookProgress(content, document.plan(content), observer)
        settings = Config(profile_name=profile)
        with SessionManager(settings, notify=_log().info).session(session) as opened:
            named = (nb_man.nb.metadata.get("kernelspec") or {}).get("name")
            kernels.choose(opened, nb_man.nb, "the notebook", kernel_name if named and kernel_name != named else None)
            manner = NotebookOptions(cell_timeout=execution_timeout, save_every=nb_man.autosave_cell_every)
            result = runs.run_notebook(opened, progress, "papermill", observer.save, manner)
            opened.used()
        if result.interrupted is True:
            raise KeyboardInterrupt
        failed = isinstance(result.error, ErrorInfo)
        if failed and (result.timed_out is True or result.status == "unknown" or result.failed_cell is None):
            assert isinstance(result.error, ErrorInfo)
            kind = errors.TimeLimit if result.timed_out is True else errors.RuntimeFailure
            raise kind(result.error.message, name=result.error.name, hint=_text(result.error.suggestion))


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


class _Reporter:
    """Tells papermill's manager what becomes of the cells, and keeps its notebook like ours (`content`)."""

    def __init__(self, manager: Any, content: Any, files: dict[str, Any], log_output: bool) -> None:
        self._manager = manager
        self._content = content
        self._files = files
        self._log_output = log_output
        self._step: Step | None = None

    def save(self) -> None:
        """Save what there is."""
        self._copy()
        self._manager.save()

    def _copy(self) -> None:
        from .document import library

        theirs = self._manager.nb
        for target, cell in zip(theirs.cells, self._content.cells, strict=True):
            if cell.cell_type == "code":
                target.outputs = [library().from_dict(item) for item in cell.outputs]
                target.execution_count = cell.execution_count
        for name, value in self._content.metadata.items():
            if name != papermill_metadata.KEY:
                theirs.metadata[name] = value

    def started(self, step: Step, position: int, total: int) -> None:
        self._step = step
        self._tell(self._manager.cell_start)

    def event(self, event: Event) -> None:
        from ..jupyter.messages import Stream

        if not isinstance(event, Stream):
            return
        if (file := self._files.get(event.name)) is not None:
            file.write(event.text)
            file.flush()
        if self._log_output:
            _log().log(logging.INFO if event.name == "stdout" else logging.WARNING, event.text.rstrip("\n"))

    def ended(self, result: CellResult) -> None:
        self._copy()
        if result.status == "error" and result.allowed is not True:
            self._tell(self._manager.cell_exception)
        self._tell(self._manager.cell_complete)

    def _tell(self, change: Callable[..., None]) -> None:
        assert self._step is not None
        assert self._step.index is not None  # papermill has put the parameters in already
        change(self._manager.nb.cells[self._step.index], cell_index=self._step.index)
