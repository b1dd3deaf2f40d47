"""Commands on a session's runtime, each a process of its own, and packages for its kernel."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, BinaryIO, Literal

from .. import errors
from ..helper.launch import Launch
from ..jupyter.outputs import OutputOptions
from ..runs import process_runs
from ..runs.run_record import RunRecord
from .outcomes import ended
from .session_base import OnBytes, silent, some
from .session_code import CodeMethods

if TYPE_CHECKING:
    from ..models.runs import Run as RunDocument
    from ..results import Install, Run

__all__ = ["CommandMethods", "check_command", "shown"]


def check_command(command: str | Sequence[str]) -> None:
    """Refuse a command that says nothing.

    Raises:
        errors.UsageError
    """
    if not (command.strip() if isinstance(command, str) else command and command[0]):
        raise errors.UsageError("there is no command to run", hint='lecoder-cgpu run "nvidia-smi"')


def shown(command: str | Sequence[str]) -> str:
    """A command as the history shows it."""
    return command if isinstance(command, str) else " ".join(command)


class CommandMethods(CodeMethods):
    """What a session does with processes that are watched."""

    def shell(
        self,
        command: str | Sequence[str],
        *,
        cwd: str | None = None,
        environment: Mapping[str, str] | None = None,
        secrets: Mapping[str, str] | None = None,
        stdin: bytes | BinaryIO | None = None,
        timeout: float | None = None,
        idle_timeout: float | None = None,
        wait: float | None = None,
        on_disconnect: Literal["kill", "detach"] = "kill",
        sync: str | None = None,
        pull: Sequence[str] = (),
        auto_install: bool = False,
        max_output: int | None = None,
        check: bool = False,
        on_output: OnBytes | None = None,
    ) -> Run:
        """Run a command as a process of its own on the runtime, even while the kernel is busy.

        Args:
            command: a string for the shell, or a program with its arguments.
            cwd: its working folder. environment: variables for it. secrets: more variables, which are stored nowhere.
            stdin: its input; None for no input.
            timeout: seconds after which the command is ended. idle_timeout: the same without any output.
            wait: seconds after which to return although it goes on: the result's status is `running` then.
            on_disconnect: what Ctrl-C here does to the command.
            sync: a local folder; what is new in it is sent first, and the command runs in it there.
            pull: results to fetch at the end (`PATH[:LOCAL]`), also after a failure.
            auto_install: install a package that is missing, and run again, once.
            max_output: bytes of each stream that the result may hold; None for all.
            check: raise its failure instead of returning it.
            on_output: called with each piece of output (stream name, bytes) as it comes.

        Raises:
            errors.CodeFailure, errors.TimeLimit: with `check`. KeyboardInterrupt: Ctrl-C, see `on_disconnect`.
            errors.Error: nothing was started.
        """
        from ..files import sending

        check_command(command)
        sending.check(sync, pull)
        with self._hold() as held:
            synced = None
            if sync is not None:
                synced, cwd = sending.send(held, sync, cwd)
            record = RunRecord(held.notify, "terminal")
            record.secrets = dict(secrets or {})
            start = partial(
                process_runs.process_run,
                held,
                command if isinstance(command, str) else list(command),
                on_output or silent,
                Launch(
                    cwd=cwd,
                    environment=None if environment is None else dict(environment),
                    secrets=None if secrets is None else dict(secrets),
                    timeout=timeout,
                    idle_timeout=idle_timeout,
                ),
                output=OutputOptions(max_output=max_output),
                wait=wait,
                detach=on_disconnect == "detach",
            )

            def once() -> RunDocument:
                with record.beginning(held, shown(command)):
                    return start(stdin=io.BytesIO(stdin) if isinstance(stdin, bytes) else stdin)

            document = self._repaired(held, once, record, shown(command)) if auto_install else once()
            if synced is not None:
                document.synced = synced
            if pull and document.status != "running":
                sending.fetch(held, pull, cwd, document)
            self._remember(held, document, record, shown(command))
        return ended(document, check)

    def install(
        self,
        *packages: str,
        requirements: Sequence[str] = (),
        options: Sequence[str] = (),
        timeout: float | None = None,
        check: bool = False,
        max_output: int | None = None,
        on_output: OnBytes | None = None,
    ) -> Install:
        """Install Python packages for the session's kernel, by uv if the runtime has it, else by pip.

        Args:
            packages: as pip takes them. requirements: files of this machine that name more.
            options: of the installer, such as `--upgrade`.
            timeout: seconds after which the installer is ended.
            check: raise its failure instead of returning it.
            max_output: bytes of each stream that the result may hold; None for all.
            on_output: called with each piece of the installer's output (stream name, bytes) as it comes.

        Raises:
            errors.CodeFailure, errors.TimeLimit: with `check`. errors.Error: nothing was started.
        """
        from ..runs.installs import Wanted, install, read_files

        some((*packages, *requirements), "install", "what to install")
        files, main = read_files(requirements)
        wanted = Wanted(requirements=packages, files=files, main=main, options=options)
        with self._hold() as held:
            document = install(held, wanted, on_output or silent, timeout=timeout, max_output=max_output)
        return ended(document, check)
