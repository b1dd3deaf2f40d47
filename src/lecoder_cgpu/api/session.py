"""`Session`: one session in use: its kernel, commands, jobs and files."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from ..helper.launch import Launch
from ..jupyter import messages
from ..jupyter.outputs import OutputOptions
from ..jupyter.watch_limits import WatchLimits
from ..runs import closing, kernel_runs, process_runs
from ..runs.jobs import Jobs, start
from ..sessions import session as runtime
from ..sessions.manager import SessionManager
from ..store.session_store import Record
from .job import Job
from .outcomes import ended, failure
from .stream import Stream

if TYPE_CHECKING:
    from ..files.commands import Storage
    from ..files.transfer import Progress
    from ..models.base import SessionRef
    from ..models.files import FileList, FilesRemoved, Synced, Transfer
    from ..models.jobs import Job as JobInfo
    from ..models.jobs import JobStarted
    from ..models.notebooks import CellResult, Install, NotebookRun
    from ..models.runs import Run
    from ..models.sessions import KernelChoice, KernelInfo, SessionClosed

OnOutput = Callable[[str, str], None]


class Session:
    """One session in use. Made by `Client`."""

    def __init__(self, client: SessionManager, record: Record, kernel_name: str | None = None) -> None:
        self._client = client
        self._record = record
        self._kernel_name = kernel_name

    def __repr__(self) -> str:
        return f"Session(name={self.name!r}, backend={self.backend!r})"

    @property
    def id(self) -> str:
        return self._record.id

    @property
    def name(self) -> str:
        return self._record.name

    @property
    def backend(self) -> str:
        return self._record.backend

    @property
    def ref(self) -> SessionRef:
        """The reference by which documents name this session."""
        return self._record.ref

    # --- code in the session's kernel ---

    def run(
        self,
        code: str,
        *,
        timeout: float | None = None,
        check: bool = False,
        on_event: Callable[[messages.Event], None] | None = None,
        outputs_dir: str | Path | None = None,
        wait: float | None = None,
        max_output: int | None = None,
        kernel_name: str | None = None,
    ) -> Run:
        """Run code in the session's kernel; its variables stay for the next run.

        Args:
            code: Python, or the language of the session's kernel.
            timeout: seconds after which the code is interrupted.
            check: raise the failure of the code instead of returning it.
            on_event: called with every output as it comes, in the calling thread.
            outputs_dir: folder for images and other rich outputs.
            wait: seconds after which to return although the code goes on: the document's status is `running` then.
            max_output: bytes of each stream and of rich outputs that the document may hold; None for all.
            kernel_name: the kernel to run it in, by the name of its kernelspec; the session keeps it (see `kernels`).

        Raises:
            errors.CodeFailure, errors.TimeLimit: with `check`.
            errors.UsageError: (`NoSuchKernel`) the server has no such kernel. errors.Error: nothing was sent.
        """
        with self._hold() as held:
            held.wish = kernel_name or held.wish
            document = kernel_runs.kernel_run(
                held,
                code,
                on_event or (lambda event: None),
                limits=WatchLimits(timeout=timeout, wait=wait),
                output=OutputOptions(
                    max_output=max_output,
                    folder=None if outputs_dir is None else Path(outputs_dir).expanduser(),
                ),
            )
        return ended(document, check)

    def stream(self, code: str, *, timeout: float | None = None) -> Stream:
        """Run code in the session's kernel and iterate over its outputs as they come."""
        return Stream(lambda on_event: self.run(code, timeout=timeout, on_event=on_event), self.interrupt)

    def kernels(self) -> list[KernelChoice]:
        """The kernels that the runtime can start, for `kernel_name`.

        Raises:
            errors.UsageError: (`NoKernelList`) its server does not tell.
        """
        with self._hold() as held:
            return held.kernel_choices()

    def interrupt(self) -> None:
        """Interrupt what the kernel executes now. Its variables stay.

        Raises:
            errors.NotFoundError: no kernel is running.
        """
        with self._hold() as held:
            held.server.interrupt(held.running_kernel().id)

    def restart(self) -> None:
        """Restart the kernel: its variables are lost, files stay.

        Raises:
            errors.NotFoundError: no kernel is running.
        """
        with self._hold() as held:
            held.restart_kernel()

    def kernel(self) -> KernelInfo:
        """The kernel as its server sees it now; its `id` is unset when none is running."""
        with self._hold() as held:
            return held.kernel_info(held.kernel())

    # --- notebooks ---

    def run_notebook(
        self,
        path: str | Path,
        output: str | Path | None = None,
        *,
        max_output: int | None = None,
        on_event: Callable[[messages.Event], None] | None = None,
        on_cell: Callable[[CellResult], None] | None = None,
        check: bool = False,
        **wanted: Any,
    ) -> NotebookRun:
        """Execute a notebook in the session's kernel, and write it with its outputs, also when a cell fails.

        Args:
            path: of the notebook, or of a text of cells. output: of the executed one; beside it when None.
            max_output: bytes of each stream of a cell that the document may hold; None for all.
            on_event, on_cell: called with every output, and with each cell that has ended.
            check: raise the failure instead of returning it.
            wanted: `parameters` (a dictionary), `kernel_name`, `cwd`, `environment`, `timeout` and `cell_timeout`
                (seconds), `keep_going` (after a cell that failed), `restart` (the kernel first).

        Raises:
            errors.CodeFailure, errors.TimeLimit: with `check`. errors.NotFoundError: there is no such file.
            errors.UsageError: it is no notebook. errors.Error: nothing was run.
        """
        from . import notebooks

        source = Path(path).expanduser()
        target = notebooks.output_of(source, output)
        with self._hold() as held:
            prepared = notebooks.Prepared(held, source, notebooks.Wanted(**wanted), target)
            document = prepared.run(target, notebooks.Observer(on_event, on_cell), max_output)
        if document.interrupted is True:
            raise KeyboardInterrupt(f"notebook {document.run_id} was interrupted")
        if check and document.status != "ok":
            raise failure(document, document.error)
        return document

    def start_notebook(
        self, path: str | Path, *, key: str | None = None, pull: Sequence[str] | None = None, **wanted: Any
    ) -> Job:
        """Start a notebook that goes on without this program; `fetch_notebook` brings what became of it.

        Args:
            key: with a key, the same notebook is started once. pull, wanted: see `job` and `run_notebook`.

        Raises:
            errors.UsageError: (`KeyConflict`) the key was used otherwise. errors.Error: nothing was started.
        """
        from . import notebooks

        with self._hold() as held:
            prepared = notebooks.Prepared(held, Path(path).expanduser(), notebooks.Wanted(**wanted), None)
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
            return notebooks.collected(held, job_id, output, max_output)

    # --- commands ---

    def shell(
        self,
        command: str | Sequence[str],
        *,
        cwd: str | None = None,
        environment: dict[str, str] | None = None,
        secrets: dict[str, str] | None = None,
        stdin: bytes | BinaryIO | None = None,
        timeout: float | None = None,
        check: bool = False,
        on_output: Callable[[str, bytes], None] | None = None,
    ) -> Run:
        """Run a command as a process of its own on the runtime, even while the kernel is busy.

        Args:
            command: a string for the shell, or a program with its arguments.
            cwd: its working folder. environment: variables for it. secrets: more variables, which are stored nowhere.
            stdin: its input; None for no input.
            timeout: seconds after which the command is ended.
            check: raise its failure instead of returning it.
            on_output: called with each piece of output (stream name, bytes) as it comes.

        Raises:
            errors.CodeFailure, errors.TimeLimit: with `check`. errors.Error: nothing was started.
        """
        with self._hold() as held:
            document = process_runs.process_run(
                held,
                command if isinstance(command, str) else list(command),
                on_output or (lambda stream, data: None),
                Launch(cwd=cwd, environment=environment, secrets=secrets, timeout=timeout),
                stdin=io.BytesIO(stdin) if isinstance(stdin, bytes) else stdin,
            )
        return ended(document, check)

    def job(
        self,
        command: str | Sequence[str],
        *,
        key: str | None = None,
        cwd: str | None = None,
        environment: dict[str, str] | None = None,
        secrets: dict[str, str] | None = None,
        timeout: float | None = None,
        pull: Sequence[str] | None = None,
    ) -> Job:
        """Start a command that goes on without this program.

        Args:
            key: with a key, the same command is started once, however often this is called.
            pull: results (`PATH[:LOCAL]`) that `lecoder-cgpu job wait` fetches.
            cwd, environment, secrets, timeout: see `shell`.

        Raises:
            errors.UsageError: (`KeyConflict`) the key was used with other input. errors.Error: nothing was started.
        """
        started = self.start(
            command, key=key, cwd=cwd, environment=environment, secrets=secrets, timeout=timeout, pull=pull
        )
        return Job(self, started.job_id)

    def start(
        self,
        command: str | Sequence[str],
        *,
        key: str | None = None,
        cwd: str | None = None,
        environment: dict[str, str] | None = None,
        secrets: dict[str, str] | None = None,
        timeout: float | None = None,
        pull: Sequence[str] | None = None,
    ) -> JobStarted:
        """Start a job as `job` does, and return the document that `run --detach` prints."""
        with self._hold() as held:
            return start(
                held,
                command if isinstance(command, str) else list(command),
                Launch(cwd=cwd, environment=environment, secrets=secrets, timeout=timeout, pull=pull),
                key=key,
            )

    def find_job(self, job_id: str) -> Job:
        """Find a job that was started earlier, from any machine, by its id or a unique prefix of it.

        Raises:
            errors.NotFoundError: the runtime does not know it.
        """
        with self._jobs() as known:
            return Job(self, known.find(job_id).run)

    def jobs(self, limit: int = 50) -> list[JobInfo]:
        """The newest jobs on the runtime."""
        with self._jobs() as known:
            return known.list(limit).jobs

    def install(
        self,
        *packages: str,
        options: Sequence[str] = (),
        timeout: float | None = None,
        check: bool = False,
        max_output: int | None = None,
        on_output: Callable[[str, bytes], None] | None = None,
    ) -> Install:
        """Install Python packages for the session's kernel, by uv if the runtime has it, else by pip.

        Args:
            packages: as pip takes them. options: of the installer, such as `--upgrade`.
            timeout: seconds after which the installer is ended.
            check: raise its failure instead of returning it.
            max_output: bytes of each stream that the document may hold; None for all.
            on_output: called with each piece of the installer's output (stream name, bytes) as it comes.

        Raises:
            errors.CodeFailure, errors.TimeLimit: with `check`. errors.Error: nothing was started.
        """
        from ..runs.installs import Wanted, install

        wanted = Wanted(requirements=packages, options=options)
        tell = on_output or (lambda stream, data: None)
        with self._hold() as held:
            document = install(held, wanted, tell, timeout=timeout, max_output=max_output)
        if check and document.status != "ok":
            raise failure(document, document.error)
        return document

    def upload(self, *sources: str | Path, to: str | None = None, progress: Progress | None = None) -> Transfer:
        """Copy files and folders to the runtime; into `to` if it ends with a slash or is a folder.

        Args:
            progress: called with how many more files and bytes are done.

        Raises:
            errors.Error: something was not copied. No incomplete file has a final name.
        """
        with self._storage(progress) as files:
            return files.upload([str(source) for source in sources], to)

    def download(self, *sources: str, to: str | Path | None = None, progress: Progress | None = None) -> Transfer:
        """Copy files and folders from the runtime; patterns are expanded there.

        Args:
            progress: called with how many more files and bytes are done.

        Raises:
            errors.Error: something was not copied. No incomplete file has a final name.
        """
        with self._storage(progress) as files:
            return files.download(sources, None if to is None else str(to))

    def list_files(self, path: str = ".") -> FileList:
        """What is in a folder of the runtime, or what a file is.

        Raises:
            errors.NotFoundError: there is no such path.
        """
        with self._storage() as files:
            return files.list(path)

    def read_file(self, path: str) -> bytes:
        """The content of a file of the runtime.

        Raises:
            errors.NotFoundError: there is no such file. errors.UsageError: it is a folder.
        """
        content = bytearray()
        with self._storage() as files:
            files.read(path, content.extend)
        return bytes(content)

    def remove_files(self, *paths: str, recursive: bool = False, missing_ok: bool = False) -> FilesRemoved:
        """Delete files of the runtime, and with `recursive` folders; patterns are expanded there.

        Raises:
            errors.NotFoundError: there is no such path, unless `missing_ok`. errors.UsageError: it is a folder.
        """
        with self._storage() as files:
            return files.remove(paths, recursive=recursive, missing_ok=missing_ok)

    def sync(
        self,
        local: str | Path,
        remote: str,
        *,
        checksum: bool = False,
        delete: bool = False,
        dry_run: bool = False,
        progress: Progress | None = None,
    ) -> Synced:
        """Make a folder on the runtime hold the same as a local one (see `lecoder-cgpu sync`).

        Raises:
            errors.Error: something could not be done. What was done before is complete.
        """
        with self._storage(progress) as files:
            return files.sync(str(local), remote, checksum=checksum, delete=delete, dry_run=dry_run)

    def close(self) -> SessionClosed:
        """Release the runtime if it is ours, and forget the session.

        Raises:
            errors.Error: the runtime could not be released; the session is kept.
        """
        return closing.close(self._client, self._client.store.find(self.id))

    def _hold(self) -> runtime.Session:
        """The session as it is stored now. Another process may have started a kernel or renewed a token."""
        held = self._client.look_anew().hold(self._client.store.find(self.id))
        held.wish = self._kernel_name
        return held

    @contextmanager
    def _storage(self, progress: Progress | None = None) -> Iterator[Storage]:
        from ..files.commands import Storage

        with self._hold() as held, Storage(held, progress) as files:
            yield files

    @contextmanager
    def _jobs(self) -> Iterator[Jobs]:
        with self._hold() as held, Jobs(held) as found:
            yield found
