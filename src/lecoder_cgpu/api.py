"""The library: `Client`, `Session` and `Job` for programs that run code on runtimes without the command line.

    from lecoder_cgpu import Client

    session = Client(backend="local").session()
    print(session.run("print(6 * 7)").stdout)

What the code did is data: a `models.Run`, whose `error` tells how it failed. With `check=True` it is raised, as the
class of the error tree (`lecoder_cgpu.errors`) that has its code. What went wrong on our side is always raised.
Synchronous; every call opens its own connection, so sessions may be used from several threads.
"""

from __future__ import annotations

import io
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from . import errors
from .backends.protocol import RuntimeRequest
from .config import Config
from .helper.launch import Launch
from .jupyter import messages
from .jupyter.outputs import OutputOptions
from .jupyter.watch_limits import WatchLimits
from .models.base import ErrorInfo
from .models.sessions import SessionAdded
from .runs import kernel_runs, process_runs
from .runs.jobs import Jobs, describe, start
from .sessions import manager as clients
from .sessions import operations
from .sessions import session as runtime
from .sessions import status as overview
from .store.session_store import Record

if TYPE_CHECKING:
    from .files.commands import Storage
    from .models.base import Optional, SessionRef
    from .models.files import Synced, Transfer
    from .models.jobs import Job as JobInfo
    from .models.jobs import JobStarted
    from .models.notebooks import Install
    from .models.runs import Run
    from .models.sessions import SessionClosed, SessionDocument
    from .models.status import Status

OnOutput = Callable[[str, str], None]


class Client:
    """Sessions under one configuration: those that the command line uses, too.

    Args:
        backend: `colab`, `jupyter` or `local`; what the environment or `config.json` say when omitted.
        config_file: another `config.json`.
        notify: told, in a sentence, what the user should know (a new kernel was started, …).
    """

    def __init__(
        self,
        backend: str | None = None,
        *,
        config_file: str | Path | None = None,
        notify: Callable[[str], None] | None = None,
    ) -> None:
        config = Config(
            options={} if backend is None else {"backend": backend},
            config_file=None if config_file is None else Path(config_file).expanduser(),
        )
        self._client = clients.SessionManager(config, notify=notify)

    def session(
        self,
        name: str | None = None,
        *,
        gpu: str | None = None,
        tpu: bool | str = False,
        cpu: bool = False,
        high_ram: bool = False,
        new: bool = False,
    ) -> Session:
        """The session of that name or id, else the active one, else a new one of the chosen backend.

        Args:
            name: of a stored session; excludes the other arguments.
            gpu: ask for a GPU of that kind, or of the first of several (`"L4,T4"`) that is free.
            tpu: for a TPU, or one of that kind. cpu: for a runtime without accelerator. high_ram: with much memory.
            new: a runtime of its own.

        Raises:
            errors.UsageError: the arguments contradict each other. errors.NotFoundError: there is no such session.
            errors.AuthError, errors.CapacityError, errors.QuotaError: no runtime is to be had.
        """
        wants = _wants(gpu=gpu, tpu=tpu, cpu=cpu, high_ram=high_ram, new=new)
        return self._session(self._client.session(name, wants))

    def ensure(
        self, name: str, *, gpu: str | None = None, tpu: bool | str = False, cpu: bool = False, high_ram: bool = False
    ) -> SessionAdded:
        """Make sure that there is a session of that name with its runtime, and make it the active one.

        Once or ten times is the same. On Colab, a GPU is asked for unless an argument says otherwise.

        Raises:
            errors.UsageError: the session of that name has another kind of runtime.
            errors.AuthError, errors.CapacityError, errors.QuotaError: no runtime is to be had.
        """
        wants = _wants(gpu=gpu, tpu=tpu, cpu=cpu, high_ram=high_ram)
        held, fresh = operations.ensure(self._client, name, wants)
        with held:
            return SessionAdded(session=operations.inspect(self._client, held.record), fresh=fresh)

    def add_server(self, name: str, url: str, token: str | None = None, *, replace: bool = False) -> Session:
        """Store a Jupyter server as a session, after proving that it answers and takes the token.

        Raises:
            errors.UsageError: name or address are no good. errors.AuthError, errors.ConnectionFailed: the proof failed.
        """
        return self._session(self._client.add_server(name, url, token, replace=replace))

    def add_local(self, name: str, root: str | Path | None = None) -> Session:
        """Store another local runtime as a session and start it, with `root` as its working folder.

        Raises:
            errors.UsageError: name or folder are no good. errors.CapacityError: it did not start.
        """
        return self._session(self._client.add_local(name, None if root is None else str(root)))

    def sessions(self) -> list[SessionDocument]:
        """Every stored session with what its runtime says now, most recently used first."""
        return operations.list_sessions(self._client)

    def status(self) -> Status:
        """Login, runtimes with their GPUs and memory, sessions."""
        return overview.status(self._client)

    def _session(self, held: runtime.Session) -> Session:
        with held:
            return Session(self._client, held.record)


def _wants(
    *, gpu: str | None, tpu: bool | str = False, cpu: bool = False, high_ram: bool = False, new: bool = False
) -> RuntimeRequest:
    return RuntimeRequest(
        cpu=cpu,
        gpu=() if gpu is None else tuple(gpu.split(",")),
        tpu=None if tpu is False else () if tpu is True else tuple(tpu.split(",")),
        high_ram=high_ram,
        new=new,
    )


class Session:
    """One session in use. Made by `Client`."""

    def __init__(self, client: clients.SessionManager, record: Record) -> None:
        self._client = client
        self._record = record

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
        """How documents name it."""
        return self._record.ref

    # --- Python in the session's kernel ---

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
    ) -> Run:
        """Run Python in the session's kernel; its variables stay for the next run.

        Args:
            timeout: seconds after which the code is interrupted.
            wait: seconds after which to return although the code goes on: the document's status is `running` then.
            max_output: bytes of each stream and of rich outputs that the document may hold; None is all.
            check: raise the failure of the code instead of returning it.
            on_event: told of every output as it comes, from the calling thread.
            outputs_dir: folder for images and other rich outputs.

        Raises:
            errors.CodeFailure, errors.TimeLimit: with `check`. errors.Error: nothing was sent.
        """
        with self._hold() as held:
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
        return _ended(document, check)

    def stream(self, code: str, *, timeout: float | None = None) -> Stream:
        """Run Python in the session's kernel and iterate over its outputs as they come."""
        return Stream(lambda on_event: self.run(code, timeout=timeout, on_event=on_event), self.interrupt)

    def interrupt(self) -> None:
        """Interrupt what the kernel executes now; its variables stay.

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
        """Run a command as a process of its own on the runtime; it works while the kernel is busy.

        Args:
            command: a string for the shell, or a program with its arguments.
            cwd: working folder there. environment: variables for it. secrets: the same, never written down anywhere.
            stdin: its input; nothing when None.
            timeout: seconds after which the command is ended.
            check: raise its failure instead of returning it.
            on_output: told of each piece of output (stream name, bytes) as it comes.

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
        return _ended(document, check)

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
        """Start a command that goes on without us. With a `key`, the same command is started once, however often asked.

        What `pull` names (`PATH[:LOCAL]`) is fetched by `lecoder-cgpu job wait`.

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
        """The same as `job`, returning the document that `run --detach` prints."""
        with self._hold() as held:
            return start(
                held,
                command if isinstance(command, str) else list(command),
                Launch(cwd=cwd, environment=environment, secrets=secrets, timeout=timeout, pull=pull),
                key=key,
            )

    def find_job(self, job_id: str) -> Job:
        """A job that was started earlier, by whomever, by its id or a unique prefix of it.

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
    ) -> Install:
        """Install Python packages for the session's kernel, by uv where it is there and pip otherwise.

        Args:
            packages: as pip takes them. options: of the installer, such as `--upgrade`.
            timeout: seconds after which the installer is ended.
            check: raise its failure instead of returning it.
            max_output: bytes of each stream that the document may hold; None is all.

        Raises:
            errors.CodeFailure, errors.TimeLimit: with `check`. errors.Error: nothing was started.
        """
        from .runs.installs import Wanted, install

        wanted = Wanted(requirements=packages, options=options)
        with self._hold() as held:
            document = install(held, wanted, lambda stream, data: None, timeout=timeout, max_output=max_output)
        if check and document.status != "ok":
            raise failure(document, document.error)
        return document

    def upload(self, *sources: str | Path, to: str | None = None) -> Transfer:
        """Copy files and folders to the runtime: into `to` when it ends with a slash or is a folder.

        Raises:
            errors.Error: something was not copied; nothing half stands under a final name.
        """
        with self._storage() as files:
            return files.upload([str(source) for source in sources], to)

    def download(self, *sources: str, to: str | Path | None = None) -> Transfer:
        """Copy files and folders from the runtime; patterns are expanded there.

        Raises:
            errors.Error: something was not copied; nothing half stands under a final name.
        """
        with self._storage() as files:
            return files.download(sources, None if to is None else str(to))

    def sync(
        self, local: str | Path, remote: str, *, checksum: bool = False, delete: bool = False, dry_run: bool = False
    ) -> Synced:
        """Make a folder on the runtime hold what a local one does (see `lecoder-cgpu sync`).

        Raises:
            errors.Error: something could not be done; what was done before is whole.
        """
        with self._storage() as files:
            return files.sync(str(local), remote, checksum=checksum, delete=delete, dry_run=dry_run)

    def close(self) -> SessionClosed:
        """Release the runtime as far as it is ours, and forget the session.

        Raises:
            errors.Error: the runtime could not be told; the session is kept then.
        """
        return operations.close(self._client, self._client.store.find(self.id))

    def _hold(self) -> runtime.Session:
        """The session as it is stored now: another process may have started a kernel or renewed a token meanwhile."""
        return self._client.hold(self._client.store.find(self.id))

    @contextmanager
    def _storage(self) -> Iterator[Storage]:
        from .files.commands import Storage

        with self._hold() as held, Storage(held) as files:
            yield files

    @contextmanager
    def _jobs(self) -> Iterator[Jobs]:
        with self._hold() as held, Jobs(held) as found:
            yield found


class Job:
    """A command that runs on a runtime without us. Made by `Session.job` and `Session.find_job`."""

    def __init__(self, session: Session, job_id: str) -> None:
        self.session = session
        self.id = job_id

    def __repr__(self) -> str:
        return f"Job(id={self.id!r}, session={self.session.name!r})"

    def show(self) -> JobInfo:
        """How it stands."""
        with self.session._jobs() as known:
            return describe(known.find(self.id))

    def wait(self, timeout: float | None = None) -> JobInfo:
        """Wait for its end, at most `timeout` seconds; `state` tells which of the two came."""
        with self.session._jobs() as known:
            return known.wait(self.id, timeout).job

    def logs(self, stream: str = "stdout", offset: int = 0, limit: int | None = None) -> bytes:
        """What it wrote to a stream, from a byte offset on (from the end when negative)."""
        with self.session._jobs() as known:
            return known.read(self.id, stream, offset, limit)[1]

    def result(
        self,
        *,
        check: bool = False,
        on_output: Callable[[str, bytes], None] | None = None,
        wait: float | None = None,
        max_output: int | None = None,
    ) -> Run:
        """Wait for its end and return what `Session.shell` would have returned.

        Args:
            wait: seconds after which to return although it goes on. max_output: as `Session.run` has it.
        """
        with self.session._hold() as held:
            output = OutputOptions(max_output=max_output)
            if kernel_runs.is_kernel_run(held, self.id):

                def tell(event: messages.Event) -> None:
                    if isinstance(event, messages.Stream) and on_output is not None:
                        on_output(event.name, event.text.encode())

                document = kernel_runs.attached_kernel_run(held, self.id, tell, output=output, wait=wait)
            else:
                document = process_runs.attached_run(
                    held, self.id, on_output or (lambda stream, data: None), output=output, wait=wait
                )
        return _ended(document, check)

    def kill(self, signal: str | None = None) -> bool:
        """Send a signal to it and everything that it started; False when it has ended already. Without a name, that is
        SIGTERM for a process, and an interrupt for code in a kernel."""
        with self.session._jobs() as known:
            return known.kill(self.id, signal).sent is True


class Stream(Iterator[messages.Event]):
    """The outputs of a run while it goes on; `result` is its document once the iteration has ended.

    `close`, or leaving the `with` block early, interrupts the code.
    """

    def __init__(self, run: Callable[[Callable[[messages.Event], None]], Run], interrupt: Callable[[], None]) -> None:
        self._events: queue.SimpleQueue[messages.Event | None] = queue.SimpleQueue()
        self._interrupt = interrupt
        self._result: Run | None = None
        self._problem: BaseException | None = None
        self._ended = False
        self._thread = threading.Thread(target=self._work, args=(run,), daemon=True)
        self._thread.start()

    def __next__(self) -> messages.Event:
        event = None if self._ended else self._events.get()
        if event is None:
            self._ended = True
            self._thread.join()
            if self._problem is not None:
                raise self._problem
            raise StopIteration
        return event

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def result(self) -> Run:
        """The run's document; waits for the end, so that outputs that were not iterated over are in it only.

        Raises:
            errors.Error: nothing was sent.
        """
        self._thread.join()
        if self._result is None:
            assert self._problem is not None
            raise self._problem
        return self._result

    def close(self) -> None:
        """Interrupt the code if it still runs, and wait for its end."""
        if self._thread.is_alive():
            self._interrupt()
            self._thread.join()

    def _work(self, run: Callable[[Callable[[messages.Event], None]], Run]) -> None:
        try:
            self._result = run(self._events.put)
        except BaseException as problem:
            self._problem = problem
        finally:
            self._events.put(None)


def _ended(document: Run, check: bool) -> Run:
    """What a finished call returns. Ctrl-C has ended the remote work and now ends the caller, as it always does."""
    if document.interrupted is True:
        raise KeyboardInterrupt(f"run {document.run_id} was interrupted")
    return checked(document) if check else document


def checked(document: Run) -> Run:
    """The document if the run succeeded, or goes on.

    Raises:
        errors.Error: of the class that has the run's code; `run` holds the document, notes the remote traceback.
    """
    if document.error_code == 0 and document.status in ("ok", "running"):
        return document
    raise failure(document, document.error)


def failure(document: Run | Install, info: ErrorInfo | Optional) -> errors.Error:
    """The error that a document tells of, as an exception; its notes hold the remote traceback."""
    if not isinstance(info, ErrorInfo):
        return errors.UnknownFailure(f"the run ended with status {document.status}", name="NoResult")
    # A limit of ours and one of the code's have the same code, as have our connection and the code's files.
    alike = [kind for kind in errors.tree() if kind.code == document.error_code]
    kind = next((kind for kind in alike if kind.exit_status == document.exit_code), alike[0])
    error = kind(
        info.message,
        name=info.name,
        hint=info.suggestion if isinstance(info.suggestion, str) else None,
        retryable=info.retryable,
        exit_status=document.exit_code,
    )
    error.run = document
    if isinstance(info.traceback, list):
        error.add_note("\n".join(info.traceback))
    return error
