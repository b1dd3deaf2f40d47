"""Code in a session's kernel, and the kernel itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from .. import errors, results
from ..jupyter import messages
from ..jupyter.outputs import OutputOptions
from ..jupyter.watch_limits import UNLIMITED, WatchLimits
from ..runs import kernel_runs, records
from ..runs.run_record import RunRecord
from . import running
from .outcomes import ended
from .session_base import SessionBase, silent
from .stream import Stream

if TYPE_CHECKING:
    from ..models.runs import Run as RunDocument
    from ..results import KernelChoice, KernelInfo, Run
    from ..sessions.session import Session as Held

__all__ = ["CodeMethods"]


class CodeMethods(SessionBase):
    """What a session does with its kernel."""

    def run(
        self,
        code: str,
        *,
        timeout: float | None = None,
        idle_timeout: float | None = None,
        wait: float | None = None,
        on_disconnect: Literal["kill", "detach"] = "kill",
        check: bool = False,
        on_event: Callable[[messages.Event], None] | None = None,
        on_input: Callable[[str, bool], str | None] | None = None,
        secrets: Mapping[str, str] | None = None,
        auto_install: bool = False,
        filename: str | None = None,
        arguments: Sequence[str] = (),
        outputs_dir: str | Path | None = None,
        max_output: int | None = None,
        order: bool = False,
        raw: bool = False,
        kernel_name: str | None = None,
    ) -> Run:
        """Run code in the session's kernel; its variables stay for the next run.

        Args:
            code: Python, or the language of the session's kernel.
            timeout: seconds after which the code is interrupted. idle_timeout: the same without any output.
            wait: seconds after which to return although the code goes on: the result's status is `running` then.
            on_disconnect: what Ctrl-C here does to the code.
            check: raise the failure of the code instead of returning it.
            on_event: called with every output as it comes (see `lecoder_cgpu.events`), in the calling thread.
            on_input: answers `input()`: called with the prompt, and whether it is for a password; None is no answer.
            secrets: what `google.colab.userdata.get` finds, by name; stored nowhere.
            auto_install: install a package that is missing, and run again, once.
            filename, arguments: what tracebacks name, and what the code finds in `sys.argv`.
            outputs_dir: folder for images and other rich outputs.
            max_output: bytes of each stream and of rich outputs that the result may hold; None for all.
            order: tell in which order everything was shown. raw: keep carriage returns and escape sequences.
            kernel_name: the kernel to run it in, by the name of its kernelspec; the session keeps it (see `kernels`).

        Raises:
            errors.CodeFailure, errors.TimeLimit: with `check`. KeyboardInterrupt: Ctrl-C, see `on_disconnect`.
            errors.UsageError: (`NoSuchKernel`) the server has no such kernel. errors.Error: nothing was sent.
        """
        limits = WatchLimits(timeout=timeout, idle_timeout=idle_timeout, wait=wait, detach=on_disconnect == "detach")
        output = OutputOptions(
            raw=raw,
            max_output=max_output,
            order=order,
            folder=None if outputs_dir is None else Path(outputs_dir).expanduser(),
            filename="-" if filename is None and arguments else filename,
            arguments=tuple(arguments),
        )
        document = self._run(
            code,
            on_event or (lambda event: None),
            limits,
            output,
            shown=code,
            on_input=on_input,
            secrets=secrets,
            auto_install=auto_install,
            kernel_name=kernel_name,
        )
        return ended(document, check)

    def _run(
        self,
        code: str,
        on_event: Callable[[messages.Event], None],
        limits: WatchLimits = UNLIMITED,
        output: OutputOptions = OutputOptions(),  # noqa: B008 - it cannot be changed
        *,
        shown: str | None,
        on_input: Callable[[str, bool], str | None] | None = None,
        secrets: Mapping[str, str] | None = None,
        auto_install: bool = False,
        kernel_name: str | None = None,
    ) -> RunDocument:
        """Run code. `shown` is what the history says of it; None leaves it out."""
        with self._hold() as held:
            held.wish = kernel_name or held.wish
            if secrets:
                _take_secrets(held, secrets)
            record = RunRecord(held.notify, "kernel")
            record.secrets = held.secrets

            def once() -> RunDocument:
                with record.beginning(held, shown) if shown else nullcontext():
                    return kernel_runs.kernel_run(
                        held,
                        code,
                        on_event,
                        limits=limits,
                        output=output,
                        on_input=on_input,
                        on_displays=record.displays.extend,
                    )

            document = self._repaired(held, once, record, code) if auto_install else once()
            if shown:
                self._remember(held, document, record, shown)
        return document

    def stream(self, code: str, *, timeout: float | None = None) -> Stream:
        """Run code in the session's kernel and iterate over its outputs as they come (see `lecoder_cgpu.events`)."""
        return Stream(lambda on_event: self.run(code, timeout=timeout, on_event=on_event), running.Work())

    def kernels(self) -> list[KernelChoice]:
        """The kernels that the runtime can start, for `kernel_name`.

        Raises:
            errors.UsageError: (`NoKernelList`) its server does not tell.
        """
        from ..sessions.kernel_choices import kernel_choices

        with self._hold() as held:
            return [results.of(choice) for choice in kernel_choices(held)]

    def kernel(self) -> KernelInfo:
        """The kernel as its server sees it now; its `id` is None when none is running."""
        with self._hold() as held:
            return results.of(held.kernel_info(held.kernel()))

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
            records.remember_restart(held)

    def _remember(self, held: Held, document: RunDocument, record: RunRecord, command: str) -> None:
        """Write a run down in the history."""
        document.session = held.record.ref
        record.end(held, document, command)
        held.used()

    def _repaired(self, held: Held, once: Callable[[], RunDocument], record: RunRecord, command: str) -> RunDocument:
        """The run; a second one when the first lacked a package that could be installed."""
        from ..runs import auto_install

        held.require_python("auto_install")

        def note(first: RunDocument) -> None:
            self._remember(held, first, record, command)
            record.displays = []

        return auto_install.repaired(held, once, note, held.notify, silent)


def _take_secrets(held: Held, secrets: Mapping[str, str]) -> None:
    held.require_python("secrets")
    if held.backend.responder(held.record, {}, held.notify) is None:
        raise errors.UsageError(
            "secrets for a kernel answer google.colab.userdata.get, which this runtime does not have",
            hint="set it in Python (os.environ), or run a command with secrets: Session.shell",
        )
    held.secrets = dict(secrets)
