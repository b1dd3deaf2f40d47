"""A session in use: its runtime (see `runtime`), and its kernel, which is started if there is none.

The warm path costs nothing: with a kernel id in the record, the first request is the WebSocket handshake, and only
its failure makes us ask the server what became of the kernel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import UNSET, structs

from .. import errors
from ..jupyter.kernel_channels import KernelConnection
from ..jupyter.server import Kernel
from ..store import session_store
from ..system import logs
from .runtime import Notify, SessionRuntime, Waiting

if TYPE_CHECKING:
    from ..models.sessions import KernelInfo

__all__ = ["Notify", "Session", "Waiting"]


class Session(SessionRuntime):
    """One session of the store, on its backend."""

    @property
    def kernel_path(self) -> str:
        """The path of the kernel's Jupyter session, by which another machine can find it."""
        folder = self.endpoint.folder
        return f"{folder}/lecoder-{self.record.name}.ipynb".lstrip("/")

    def connect_kernel(self) -> KernelConnection:
        """Channels to the session's kernel, which is started if there is none.

        Raises:
            errors.LostError: the runtime is gone. errors.AuthError, errors.ConnectionFailed: see net.http.request.
        """
        connection = self._on_the_runtime(self._connect_kernel)
        connection.responder = self.backend.responder(self.record, self.secrets, self.notify)
        return connection

    def _connect_kernel(self) -> KernelConnection:
        server = self.server  # may find that the runtime is a new one, and then forget the kernel
        lost = False
        if self.record.kernel is not None:
            try:
                connection = KernelConnection(server, self.record.kernel.id, self.known_gone)
            except errors.NotFoundError:
                logs.current().info("KERNEL", "the recorded kernel is gone", {"kernel": self.record.kernel.id})
                lost = True
            else:
                if self.record.kernel.recorded is None:  # the helper could not be reached when the kernel was started
                    self._note_recording(self.record.kernel)
                return connection
        return KernelConnection(server, self._open_kernel(lost), self.known_gone)

    def kernel_id(self) -> str:
        """The id of the session's kernel, which is started if there is none. Whether it still runs is not checked."""
        self.server  # noqa: B018 - may find that the runtime is a new one, and then forget the kernel
        return self.record.kernel.id if self.record.kernel is not None else self._open_kernel(lost=False)

    def forget_kernel(self) -> None:
        """Note that the kernel is gone: the next use starts another."""
        self.notify("the session's kernel was gone; a new one was started and earlier variables are lost")
        self._remember(kernel=None)

    def _open_kernel(self, lost: bool) -> str:
        path = self.kernel_path
        with self.waiting("starting a kernel …"), self.store.opening(self.record):
            kernel_id, ours = self._open(path)
            if lost and ours:
                self.notify("the session's kernel was gone; a new one was started and earlier variables are lost")
            self._remember(kernel=session_store.KernelRecord(id=kernel_id, path=path, ours=ours))
        self._note_recording(session_store.KernelRecord(id=kernel_id, path=path, ours=ours))
        return kernel_id

    def _note_recording(self, kernel: session_store.KernelRecord) -> None:
        recorded = self._start_recording(kernel.id)
        if recorded is not None:
            self._remember(kernel=structs.replace(kernel, recorded=recorded))

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
            return None if isinstance(error, errors.ConnectionFailed) and error.retryable else False
        return True

    def await_recording(self) -> None:
        """After the kernel's process was replaced, wait until the new one is recorded, too."""
        if self.record.kernel is not None and self.record.kernel.recorded:
            self._start_recording(self.record.kernel.id)

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
        if self.record.kernel is None:
            return None
        try:
            return self.server.kernel(self.record.kernel.id)
        except errors.NotFoundError:
            return None

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
        from ..models.sessions import KernelInfo

        if kernel is None:
            return KernelInfo()
        return KernelInfo(
            id=kernel.id,
            state=kernel.execution_state,
            connections=UNSET if kernel.connections is None else kernel.connections,
            last_activity=kernel.last_activity or UNSET,
        )

    def close_kernels(self) -> list[str]:
        """End the kernels that we started on a server that is not ours; returns their ids.

        Raises:
            errors.AuthError, errors.ConnectionFailed: see net.http.request.
        """
        ended = []
        with self.store.opening(self.record):
            stored = self.store.get(self.record.id) or self.record  # another process may have opened one meanwhile
            for kernel in (stored.kernel, stored.helper):
                if kernel is not None and kernel.ours and self.server.delete_kernel(kernel.id):
                    ended.append(kernel.id)
        return ended
