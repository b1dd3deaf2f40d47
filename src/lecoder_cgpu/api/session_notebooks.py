"""Notebooks in a session's kernel."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import results
from ..jupyter import messages
from .job import Job
from .outcomes import ended
from .session_jobs import JobMethods

if TYPE_CHECKING:
    from ..results import CellResult, NotebookRun

__all__ = ["NotebookMethods"]


class NotebookMethods(JobMethods):
    """What a session does with notebooks.

    How one is to be executed: `parameters` by name, `kernel_name`, `cwd`, `environment`, `timeout` and `cell_timeout`
    in seconds, `keep_going` after a cell that failed, `restart` the kernel first.
    """

    def run_notebook(
        self,
        path: str | Path,
        output: str | Path | None = None,
        *,
        parameters: Mapping[str, Any] | None = None,
        kernel_name: str | None = None,
        cwd: str | None = None,
        environment: Mapping[str, str] | None = None,
        timeout: float | None = None,
        cell_timeout: float | None = None,
        keep_going: bool = False,
        restart: bool = False,
        auto_install: bool = False,
        max_output: int | None = None,
        on_event: Callable[[messages.Event], None] | None = None,
        on_cell: Callable[[CellResult], None] | None = None,
        check: bool = False,
    ) -> NotebookRun:
        """Execute a notebook in the session's kernel, and write it with its outputs, also when a cell fails.

        Args:
            path: of the notebook, or of a text of cells. output: of the executed one; beside it when None.
            auto_install: install a package that is missing, and run the cell again.
            max_output: bytes of each stream of a cell that the result may hold; None for all.
            on_event, on_cell: called with every output, and with each cell that has ended.
            check: raise the failure instead of returning it.

        Raises:
            errors.CodeFailure, errors.TimeLimit: with `check`. errors.FileNotFound: there is no such file.
            errors.UsageError: it is no notebook. errors.Error: nothing was run.
        """
        from . import notebooks

        source = Path(path).expanduser()
        target = notebooks.output_of(source, output)
        wanted = notebooks.Wanted(
            parameters=parameters,
            kernel_name=kernel_name,
            cwd=cwd,
            environment=environment,
            timeout=timeout,
            cell_timeout=cell_timeout,
            keep_going=keep_going,
            restart=restart,
            auto_install=auto_install,
        )
        with self._hold() as held:
            prepared = notebooks.Prepared(held, source, wanted, target)
            document = prepared.run(target, notebooks.Observer(on_event, on_cell), max_output)
        return ended(document, check)

    def start_notebook(
        self,
        path: str | Path,
        *,
        key: str | None = None,
        pull: Sequence[str] | None = None,
        parameters: Mapping[str, Any] | None = None,
        kernel_name: str | None = None,
        cwd: str | None = None,
        environment: Mapping[str, str] | None = None,
        timeout: float | None = None,
        cell_timeout: float | None = None,
        keep_going: bool = False,
        restart: bool = False,
    ) -> Job:
        """Start a notebook that goes on without this program; `fetch_notebook` brings what became of it.

        Args:
            key: with a key, the same notebook is started once. pull: see `job`.

        Raises:
            errors.UsageError: (`KeyConflict`) the key was used otherwise. errors.Error: nothing was started.
        """
        from . import notebooks

        wanted = notebooks.Wanted(
            parameters=parameters,
            kernel_name=kernel_name,
            cwd=cwd,
            environment=environment,
            timeout=timeout,
            cell_timeout=cell_timeout,
            keep_going=keep_going,
            restart=restart,
        )
        with self._hold() as held:
            prepared = notebooks.Prepared(held, Path(path).expanduser(), wanted, None)
            return Job(self, prepared.start(key, pull).job_id)

    def fetch_notebook(
        self, job_id: str, output: str | Path | None = None, *, max_output: int | None = None
    ) -> NotebookRun:
        """What became of a notebook job so far; with `output`, the notebook as it is now is written there.

        Raises:
            errors.NotFoundError: there is no such job. errors.UsageError: it is no notebook.
        """
        from . import notebooks

        with self._hold() as held:
            return results.of(notebooks.collected(held, job_id, output, max_output))
