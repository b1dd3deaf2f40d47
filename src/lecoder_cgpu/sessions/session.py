"""A session in use: its runtime (see `runtime`), and its kernel, which is started if there is none.

The warm path costs nothing: with a kernel id in the record, the first request is the WebSocket handshake, and only
its failure makes us ask the server what became of the kernel.
"""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

from msgspec import UNSET, structs

from .. import errors
from ..jupyter.kernel_channels import KernelConnection, answers_at_once
from ..jupyter.kernelspecs import PYTHON, PYTHON_NAME, KernelSpec, language_of
from ..jupyter.server import Kernel, Server
from ..store import opening
from ..store.session_store import KernelRecord, Record
from ..system import logs
from . import consents
from .runtime import Notify, SessionRuntime, Waiting, known_as_ours

if TYPE_CHECKING:
    from ..jupyter.execution import Execution
    from ..models.sessions import KernelInfo

__all__ = ["Notify", "Session", "Waiting"]

IDLE_WITHIN = 1.0  # seconds in which an idle kernel answers


class Session(SessionRuntime):
    """One session of the store, on its backend.

    `wish` is the kernel that this command asks for, by the name of its kernelspec.
    """

    wish: str | None = None
    other_kernel: str | None = None  # the name of another kernel than the session's own, which this command uses

    # --- which kernel ---

    @property
    def kernel_record(self) -> KernelRecord | None:
        """The kernel that this command uses, as it is known here: the session's own, unless `use_kernel` chose
        another."""
        return self.record.kernel if self.other_kernel is None else self.record.kernels.get(self.other_kernel)

    def use_kernel(self, name: str, *, keep: bool) -> KernelSpec:
        """Use a kernel of that spec from now on. The present one and its variables stay.

        Args:
            keep: it becomes the session's own, for later commands, too.

        Raises:
            errors.UsageError: (`NoSuchKernel`) the server has none.
            errors.LostError: the runtime is gone. errors.AuthError, errors.ConnectionFailed: see net.http.request.
        """
        known = self.record.kernel
        if known is not None and name == known.name and (not keep or name == self.record.kernel_name):
            self.other_kernel = None
            return KernelSpec(name=name, language=known.language or "")
        specs = self._on_the_runtime(lambda: self.kernel_specs)
        spec = specs.named(name) if specs is not None else KernelSpec(name=name, language=language_of(None, name))
        own = self.own_kernel_name()
        self.other_kernel = None if keep or own == spec.name else spec.name
        if not keep:
            return spec
        if self.record.kernel is not None and own != spec.name:
            before = f"that of {own} keeps its variables: --kernel-name {own}" if own else "the other one keeps running"
            self.notify(f"session {self.record.name!r} uses kernel {spec.name} from now on; {before}")

        def change(record: Record) -> None:
            if own != spec.name:
                record.helper = None if record.apart else record.helper
                if record.kernel is not None:
                    record.kernels[own or record.kernel.id] = record.kernel
                record.kernel = record.kernels.pop(spec.name, None)
            record.kernel_name = spec.name

        if self.record.kernel_name != spec.name or own != spec.name:
            self._change(change)
        return spec

    def own_kernel_name(self) -> str | None:
        """The name of the spec of the session's own kernel; None when it cannot be told."""
        if self.record.kernel is None:
            return self.record.kernel_name or self._usual()
        self._learn_kind()
        return self.record.kernel.name if self.record.kernel is not None else self.record.kernel_name

    def _usual(self) -> str | None:
        specs = self.kernel_specs
        try:
            return None if specs is None else specs.usual().name
        except errors.UsageError:
            return None

    def _learn_kind(self) -> None:
        """Ask the server what the session's own kernel is if the record does not say: it is one of version 0.6.0."""
        known = self.record.kernel
        if known is None or known.name is not None:
            return
        try:
            name = self.server.kernel(known.id).name
        except errors.NotFoundError:
            return  # connecting finds that out, too, and says it

        def change(record: Record) -> None:
            if record.kernel is not None and record.kernel.id == known.id:
                record.kernel = structs.replace(record.kernel, name=name, language=self._language_of(name))

        self._change(change)

    def _language_of(self, name: str) -> str | None:
        spec = None if self.kernel_specs is None else self.kernel_specs.find(name)
        return (spec.language if spec is not None else language_of(None, name)) or None

    def language(self) -> str:
        """What the kernel that is used runs, or would run if it were started: see `kernelspecs.language_of`. Where
        nobody tells, it is Python.

        Raises:
            errors.LostError: the runtime is gone. errors.UsageError: (`NoSuchKernel`) see `use_kernel`.
            errors.AuthError, errors.ConnectionFailed: see net.http.request.
        """
        self._choose()
        known = self.kernel_record
        if known is None or known.name is None:
            self._on_the_runtime(self._learn_kind)
            known = self.kernel_record
        if known is not None:
            return known.language or PYTHON
        name = self._on_the_runtime(lambda: self.other_kernel or self.record.kernel_name or self._usual())
        return (self._language_of(name) if name is not None else None) or PYTHON

    def language_in(self, kernel_id: str | None) -> str | None:
        """What a kernel of this session runs, by its id; None where the record does not say."""
        known = [self.record.kernel, *self.record.kernels.values()]
        return next((item.language for item in known if item is not None and item.id == kernel_id), None)

    def require_python(self, what: str) -> None:
        """Refuse what only a Python kernel can do.

        Raises:
            errors.UsageError: (`NeedsPython`) the kernel runs another language. errors.Error: see `language`.
        """
        language = self.language()
        if language != PYTHON:
            raise errors.UsageError(
                f"{what} needs a Python kernel, and the kernel of session {self.record.name!r} runs {language}",
                name="NeedsPython",
                hint=f"leave out {what}; or choose a Python kernel with --kernel-name: lecoder-cgpu kernel list",
            )

    def _choose(self) -> None:
        """Do what the command asked for with --kernel-name."""
        if self.wish is not None:
            name, self.wish = self.wish, None
            self.use_kernel(name, keep=True)

    # --- the kernel in use ---

    @property
    def kernel_path(self) -> str:
        """The path of the kernel's Jupyter session, by which another machine can find it."""
        return f"{self.endpoint.folder}/lecoder-{self.record.name}.ipynb".lstrip("/")

    def connect_kernel(self) -> KernelConnection:
        """Channels to the session's kernel, which is started if there is none.

        Raises:
            errors.LostError: the runtime is gone. errors.UsageError: (`NoSuchKernel`) see `use_kernel`.
            errors.AuthError, errors.ConnectionFailed: see net.http.request.
        """
        connection = self._on_the_runtime(self._connect_kernel)
        connection.on_send = lambda run: self.on_send(run)
        may = partial(consents.agrees, self)
        connection.responder = self.backend.responder(self.record, self.secrets, self.notify, may)
        return connection

    def _connect_kernel(self) -> KernelConnection:
        server = self.server  # may find that the runtime is a new one, and then forget the kernel
        self._choose()
        known = self.kernel_record
        if known is not None:
            try:
                connection = self._channels(server, known.id)
            except errors.NotFoundError:
                logs.current().info("KERNEL", "the recorded kernel is gone", {"kernel": known.id})
            else:
                if known.recorded is None:  # the helper could not be reached when the kernel was started
                    self._note_recording(known)
                return connection
        connection = self._channels(server, self._open_kernel(lost=known))
        if self.kernel_record is not None and self.kernel_record.ours:
            # What it prints may go nowhere at first: servers do not check the way from a kernel that is at work, as
            # this one may be, for its recorder or for a helper inside it.
            connection.wait_until_heard()
        return connection

    def _channels(self, server: Server, kernel_id: str) -> KernelConnection:
        known = self.kernel_record
        recorded = known is not None and known.id == kernel_id and known.recorded is True
        connection = KernelConnection(server, kernel_id, self.known_gone, kept=recorded)
        connection.takes_pieces = self.language_in(kernel_id) in (PYTHON, None)
        return connection

    def kernel_id(self) -> str:
        """The id of the session's kernel, which is started if there is none. Whether it still runs is not checked."""
        self.server  # noqa: B018 - may find that the runtime is a new one, and then forget the kernel
        self._choose()
        return self.kernel_record.id if self.kernel_record is not None else self._open_kernel(lost=None)

    def forget_kernel(self) -> None:
        """Note that the kernel is gone: the next use starts another."""
        self.notify("the session's kernel was gone; a new one was started and earlier variables are lost")
        self._keep(None)

    def _open_kernel(self, lost: KernelRecord | None) -> str:
        """Start a kernel, unless another command has done that meanwhile. `lost` is the one that is gone."""
        with self.waiting("starting a kernel …"), self._opening():
            kernel = self.kernel_record
            if kernel is None or (lost is not None and kernel.id == lost.id):
                kernel = self.open_kept(lost=lost is not None)
        if kernel.recorded is None:  # nobody has seen to it yet
            self._note_recording(kernel)
        return kernel.id

    def open_kept(self, lost: bool) -> KernelRecord:
        """Open the kernel that is wanted, and store it. `lost`: in place of one that is gone. For holders of the lock.

        Raises:
            errors.Error: see `connect_kernel`.
        """
        from . import machines

        try:
            kernel = self._open_chosen()
        except errors.Error as error:
            kernel = self._kernel_of_helper(error, self.other_kernel or self.record.kernel_name)
        else:
            kernel = machines.together(self, kernel)
        if lost and self.record.apart and self.kernel_record is not None:
            kernel = structs.replace(kernel, machine=self.kernel_record.machine)  # to be compared with: `note_machine`
        if lost and kernel.ours:
            self.notify("the session's kernel was gone; a new one was started and earlier variables are lost")
        self._keep(kernel)
        return kernel

    def _open_helper(self, path: str) -> KernelRecord:
        from . import machines

        return machines.inside_own(self) if self.record.apart else machines.beside(self, super()._open_helper(path))

    def note_machine(self, again: bool) -> None:
        from . import machines

        machines.look_again(self, time.time() if again else self.created)

    def _open_chosen(self) -> KernelRecord:
        """The kernel that is wanted, started if there is none. Without a choice, what another machine has started
        counts, too, whatever it is."""
        chosen = self.other_kernel or self.record.kernel_name
        name = chosen
        if name is None:
            name = PYTHON_NAME if self.kernel_specs is None else self.kernel_specs.usual().name
        path = self.kernel_path
        paths = [f"{path.removesuffix('.ipynb')}.{name}.ipynb"]
        if self.other_kernel is None:
            paths.insert(0, path)
        for path in paths:
            kernel, ours = self._open(path, name)
            if chosen is None or kernel.name in ("", name):
                break
        found = kernel.name or name
        return KernelRecord(id=kernel.id, path=path, ours=ours, name=found, language=self._language_of(found))

    def _keep(self, kernel: KernelRecord | None) -> None:
        """Store the kernel that is used, or that it is gone."""
        used = self.other_kernel

        def change(record: Record) -> None:
            known = record.kernel if used is None else record.kernels.get(used)
            fresh = None if kernel is None else known_as_ours(known, kernel)
            if used is None:
                record.kernel = fresh
            elif fresh is not None:
                record.kernels[used] = fresh
            else:
                record.kernels.pop(used, None)

        self._change(change)

    def _note_recording(self, kernel: KernelRecord) -> None:
        recorded = self._start_recording(kernel.id)
        if recorded is not None:
            known = self.kernel_record  # what was learnt of it meanwhile stays
            kernel = known if known is not None and known.id == kernel.id else kernel
            self._keep(structs.replace(kernel, recorded=recorded))

    def _start_recording(self, kernel_id: str) -> bool | None:
        """Have the helper keep what the kernel publishes; False where it cannot (a gateway, protocol J15), None when
        it is to be tried again."""
        try:
            helper = self._connect_helper()
            try:
                helper.record(kernel_id)
            finally:
                helper.close()
        except errors.Error as error:
            logs.current().warn("KERNEL", f"no recording: {error.message}", {"kernel": kernel_id})
            if not isinstance(error, errors.NoConnection):
                return None if isinstance(error, errors.ConnectionFailed) and error.retryable else False
            from . import machines

            machines.note_unreachable(self, kernel_id)
            return False
        return True

    def await_recording(self) -> None:
        """After the kernel's process was replaced, wait until the new one is recorded, too."""
        if self.kernel_record is not None and self.kernel_record.recorded:
            self._start_recording(self.kernel_record.id)

    def note_end(self, run: Execution) -> None:
        """Have a new process recorded, or tell the recording how a run ended whose reply the kernel has not published.

        Kernels of other languages never do (protocol J36). A Python kernel whose process was replaced may execute code
        before the recorder has prepared it.
        """
        if run.death is not None:
            self.await_recording()
        if self.kernel_record is None or not self.kernel_record.recorded or run.published:
            return
        if run.status in (None, "aborted"):  # it is not known, or nothing was executed
            return
        try:
            helper = self._connect_helper()
            try:
                helper.conclude(self.kernel_record.id, run.msg_id, run.verdict())
            finally:
                helper.close()
        except errors.Error as error:
            logs.current().warn("RUN", f"its end is not in the recording: {error.message}", {"run": run.msg_id})

    def restart_kernel(self) -> Kernel | None:
        """Restart the kernel, and return it as it is then.

        Raises:
            errors.NotFoundError: none is running. errors.AuthError, errors.ConnectionFailed: see net.http.request.
        """
        kernel = self.running_kernel()
        self.revive_helper()
        self.server.restart(kernel.id)
        self.await_recording()
        return self.kernel()

    def kernel(self) -> Kernel | None:
        """The kernel as the server sees it now, None when none is running.

        Raises:
            errors.AuthError, errors.ConnectionFailed: see net.http.request.
        """
        if self.kernel_record is None:
            return None
        try:
            kernel = self.server.kernel(self.kernel_record.id)
        except errors.NotFoundError:
            return None
        state = kernel.execution_state
        serves = self.record.helper is not None and self.record.helper.shared
        if state == "busy" or (state == "idle" and serves):
            # The server has missed the end of something, or was told of one on the control channel (protocol J47).
            idle = answers_at_once(self.server, kernel.id, self.known_gone, IDLE_WITHIN)
            kernel = structs.replace(kernel, execution_state="idle" if idle else "busy")
        return kernel

    def running_kernel(self) -> Kernel:
        """The kernel, for commands that need one to be there.

        Raises:
            errors.NotFoundError: none was started, or it is gone.
        """
        kernel = self.kernel() if self.backend.find(self.record) is not None else None
        if kernel is None:
            raise errors.NotFoundError(
                f"session {self.record.name!r} has no running kernel",
                name="KernelNotFound",
                hint=f'start one: lecoder-cgpu run -m kernel --session {self.record.name} "print(1)"',
            )
        return kernel

    def kernel_info(self, kernel: Kernel | None) -> KernelInfo:
        from ..models.sessions import KernelInfo, kernel_state

        if kernel is None:
            return KernelInfo()
        known = self.kernel_record
        return KernelInfo(
            id=kernel.id,
            name=kernel.name or UNSET,
            language=known.language or UNSET if known is not None and known.id == kernel.id else UNSET,
            state=kernel_state(kernel.execution_state),
            connections=UNSET if kernel.connections is None else kernel.connections,
            last_activity=kernel.last_activity or UNSET,
        )

    def take_kernel(self, kernel_id: str) -> None:
        """Use a kernel of somebody else's that runs there. It is not ours: closing the session leaves it.

        Raises:
            errors.NotFoundError: there is none. errors.AuthError, errors.ConnectionFailed: see net.http.request.
        """
        try:
            kernel = self.server.kernel(kernel_id)
        except errors.NotFoundError as error:
            raise errors.NotFoundError(
                f"no kernel {kernel_id!r} runs there, as the server says",
                name="KernelNotFound",
                hint="whoever started it knows its id; lecoder-cgpu kernel status shows those of sessions here",
            ) from error
        name = kernel.name or None
        language = None if name is None else self._language_of(name)
        self._keep(KernelRecord(id=kernel.id, path="", ours=False, name=name, language=language))

    def close_kernels(self) -> list[str]:
        """End the kernels that we started on a server that is not ours; returns their ids.

        Raises:
            errors.AuthError, errors.ConnectionFailed: see net.http.request.
        """
        begun = opening.begun(self.store, self.record)
        with opening.alone(self.store, self.record) as stored:  # another process may have opened one meanwhile
            known = stored or self.record
            kernels = (known.kernel, *known.kernels.values(), known.helper)
            ours = [kernel.id for kernel in kernels if kernel is not None and kernel.ours]
            if begun:  # and what a command started that was killed, or given no answer, before it wrote that down
                others = [item.kernel.id for item in self.server.sessions_of(known.id) if item.kernel is not None]
                ours += [kernel for kernel in others if kernel not in ours]
            return [kernel for kernel in ours if self.server.delete_kernel(kernel)]
