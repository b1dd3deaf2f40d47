"""The runtime of a session in use: reached, started if need be, and the helper on it. `session` adds the kernel."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import cached_property
from typing import TYPE_CHECKING, Self, TypeVar

from msgspec import structs

from .. import errors
from ..backends.protocol import AcquireOptions, Backend, Leased
from ..jupyter.endpoint import Endpoint
from ..jupyter.frame_form import FrameForm
from ..jupyter.kernelspecs import PYTHON, PYTHON_NAME, KernelSpecs
from ..jupyter.message_size import MessageSize
from ..jupyter.server import Kernel, Server
from ..net.retry import persist, reconnect
from ..store import leases, lifecycle, session_store
from ..system import interrupts, logs
from . import first_use, holdings, interrupted_start
from .ways import Ways

if TYPE_CHECKING:
    from ..helper.client import Helper

T = TypeVar("T")
Notify = Callable[[str], None]
Waiting = Callable[[str], AbstractContextManager[None]]

RECONNECT_FOR = 75.0  # seconds of trying to reach the helper again
STARTS = 3  # attempts to start something through the helper when the connection drops meanwhile
HELPER_PATH = "lecoder-cgpu-resident"


class SessionRuntime(Ways):
    """A session of the store on its backend: all but its kernel."""

    def __init__(
        self,
        record: session_store.Record,
        store: session_store.Store,
        backend: Backend,
        notify: Notify,
        waiting: Waiting,
    ) -> None:
        self.record = record
        self.store = store
        self.backend = backend
        self.notify = notify
        self.waiting = waiting
        self.terms = AcquireOptions(tell=notify)
        self.keep: Callable[[], None] | None = None  # called when the runtime is known to be held
        self.announce: Notify | None = None  # told what is about to be started, where that costs
        self.begun: str | None = None  # to be told when the runtime is there
        self.agree: Callable[[str], bool] = lambda question: False  # asks a person, where one is there
        self.secrets: dict[str, str] = {}  # what code in the kernel may ask for
        self.on_send: Callable[[str], None] = lambda run: None  # told the id of a run before it is sent
        self.untried = False  # it was stored a moment ago, and nothing can have been started for it yet
        self._noted_at: float | None = None
        self.used_at = 0.0  # by the monotonic clock
        self.created = time.time()
        self.reached_helper = False  # its kernel was connected to

    @cached_property
    def endpoint(self) -> Endpoint:
        """The runtime's endpoint, started if the backend can start it.

        Raises:
            errors.LostError: it is gone, and `terms` do not allow another. errors.Error: see `Backend.obtain`.
        """
        found = self.backend.find(self.record)
        if found is not None:
            if self.keep is not None:
                self.keep()
            return found
        holdings.announce(self)
        if self.keep is not None:
            self.keep()  # before anything is asked for: this process may be killed while it waits for the answer
        try:
            looks = lifecycle.stage(self.record) == "unlisted"  # whether it is lost is not certain yet
            what = f"looking for the runtime of {self.record.name}" if looks else f"starting {self.record.label}"
            with self.waiting(f"{what} …"):
                endpoint, fresh = self.backend.obtain(self.record, self.terms)
        except BaseException as error:
            if interrupts.behind(error) is not None:
                interrupted_start.give_back(self)
            elif isinstance(error, errors.Error):
                first_use.failed(self, error)
            raise
        self.untried = False
        if fresh:
            first_use.started(self)
        if self.begun is not None:
            self.notify(self.begun)
        if self.keep is not None:
            self._begin_lease(fresh)
            self.keep()
        if fresh and (self.record.kernel or self.record.kernels or self.record.helper):
            self.notify(f"the runtime of session {self.record.name!r} was gone; a new one was started")
            self._change(_forget_kernels)
        return endpoint

    @cached_property
    def server(self) -> Server:
        made = Server(self.endpoint, self._refresh_endpoint)
        made.message_size = MessageSize(self.record.message_size, self.note_message_size)
        if made.endpoint.v1 and not self.backend.owns_runtime:
            made.frame_form = FrameForm(self.record.frame_form, self.note_frame_form)
        return made

    def _refresh_endpoint(self, error: errors.Error) -> Endpoint | None:
        fresh = self.backend.refresh_endpoint(self.record, error)
        if fresh is not None:
            self.__dict__["endpoint"] = fresh
        elif isinstance(error, errors.AuthError) and isinstance(self.backend, Leased):
            # Only a lender's tokens are renewed; that of a user's own server may simply be wrong.
            error.hint = "the token is fresh, and still it is refused: repeat the same command in a minute"
        return fresh

    def _on_the_runtime(self, action: Callable[[], T]) -> T:
        """Do something that comes before any work is sent. A runtime that the lender does not list is waited for. One
        that turns out to be gone is replaced if `terms` allow it. After the first success it is never replaced."""
        try:
            done = action()
        except (errors.LostError, errors.Unlisted) as error:
            if not self.terms.replace and isinstance(error, errors.LostError):
                raise
            self.__dict__.pop("server", None)
            self.__dict__.pop("endpoint", None)
            done = action()
        except errors.Error as error:
            first_use.failed(self, error)
            raise
        self.untried = False
        self.terms = structs.replace(self.terms, replace=False)
        return done

    def close(self) -> None:
        """Close the connections; the runtime stays."""
        if "server" in vars(self):
            self.server.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- the helper ---

    @property
    def helper_path(self) -> str:
        """One helper serves all sessions on a server, in a kernel of its own beside the user's (protocol C39)."""
        return f"{self.endpoint.folder}/{HELPER_PATH}".lstrip("/")

    def connect_helper(self) -> Helper:
        """The helper on the runtime, started if it is not there.

        Raises:
            errors.LostError: the runtime is gone. errors.AuthError, errors.ConnectionFailed: see net.http.request.
        """
        helper = self._on_the_runtime(self._connect_helper)
        if not self.backend.keeps_awake(self.record):
            helper.keep_awake(False)
        return helper

    def _connect_helper(self) -> Helper:
        self.server  # noqa: B018 - may find that the runtime is a new one, and then forget the helper
        known = self.record.helper
        if known is not None:
            with contextlib.suppress(errors.NotFoundError):
                return self._helper_at(known.id)
        path = self.helper_path
        with self.waiting("starting the helper on the runtime …"), self._opening():
            found = self.record.helper
            if found is not None and (known is None or found.id != known.id):
                return self._helper_at(found.id)
            try:
                opened = self._open_helper(path)
            except errors.Error as error:
                opened = self._helper_inside(error)

            def change(record: session_store.Record) -> None:
                record.helper = known_as_ours(record.helper, opened)

            self._change(change)
        return self._helper_at(opened.id)

    def _open_helper(self, path: str) -> session_store.KernelRecord:
        kernel, ours = self._open_python(path)
        return session_store.KernelRecord(id=kernel.id, path=path, ours=ours, name=kernel.name or PYTHON_NAME)

    def _helper_at(self, kernel_id: str) -> Helper:
        from ..helper.client import Helper
        from ..jupyter.messages import new_id

        client_id, known = new_id(), self.record.helper
        channel = "control" if known is not None and known.shared else "shell"
        helper = Helper(self.server.open_channels(kernel_id, client_id), client_id, channel)
        helper.size = self.server.message_size
        helper.reopen = lambda: self.server.open_channels(kernel_id, client_id)
        helper.binary = None if known is None else known.binary
        helper.on_binary = self.note_binary
        if channel == "control" and self.record.apart:
            before = self.reached_helper
            helper.on_brought = lambda again: self.note_machine(again or before)
        self.reached_helper = True
        return helper

    def note_machine(self, again: bool) -> None:
        """Take notice that the process of the session's kernel is another one, perhaps on another machine."""

    def _open(self, path: str, kernel_name: str) -> tuple[Kernel, bool]:
        """The kernel at `path`, one of that spec started if there is none, and whether we started it.

        Raises:
            errors.AuthError, errors.ConnectionFailed: see net.http.request.
        """
        untried, self.untried = self.untried, False
        owner = "" if isinstance(self.backend, Leased) else self.record.id  # else the whole runtime ends
        try:
            opened, ours = self.server.open_session(path, kernel_name, owner)
        except (errors.AuthError, errors.KernelRefused):
            self.untried = untried
            raise
        if opened.kernel is None:
            raise errors.ConnectionFailed(
                "the server opened a session without a kernel", hint="repeat the same command"
            )
        return opened.kernel, ours

    # --- Python for our own programs ---

    @cached_property
    def kernel_specs(self) -> KernelSpecs | None:
        """What kernels the server has; None where it does not tell.

        Raises:
            errors.ConnectionFailed: see net.http.request.
        """
        try:
            return self.server.kernel_specs()
        except (errors.NotFoundError, errors.AuthError) as error:
            logs.current().info("KERNEL", f"the server does not list its kernels: {error.message}")
            return None

    def python_kernel(self, path: str) -> str:
        """The id of the Python kernel at `path`, for a program of ours; it is started if there is none.

        Raises:
            errors.HelperFailed: (`NoPythonKernel`) the server has no Python kernel.
            errors.AuthError, errors.ConnectionFailed: see net.http.request.
        """
        return self._open_python(path)[0].id

    def _open_python(self, path: str) -> tuple[Kernel, bool]:
        specs = self.kernel_specs
        if specs is None:
            return self._open(path, PYTHON_NAME)
        python = specs.python()
        if python is None:
            raise _no_python(specs)
        name, chosen = python.name, self.record.kernel_name and specs.find(self.record.kernel_name)
        if chosen and chosen.language == PYTHON and not self.endpoint.lists:
            name = chosen.name  # on a gateway, the kernelspec chooses the machine
        kernel, ours = self._open(path, name)
        found = specs.find(kernel.name)
        if ours or found is None or found.language == PYTHON:
            return kernel, ours
        self.server.delete_kernel(kernel.id)  # of another language: started for us by a version that did not ask
        return self._open(path, name)

    def reconnect_helper(self, cause: errors.ConnectionFailed) -> Helper:
        """The helper again, after the connection to it was lost.

        Raises:
            errors.ConnectionFailed: it cannot be reached within a minute, or the runtime is gone.
            errors.AuthError: the server does not accept us any more.
        """
        if isinstance(cause, errors.HelperDead):
            self.replace_helper()
        if self.known_gone():
            raise cause
        return reconnect(self.connect_helper, again=self.may_come_back, limit=RECONNECT_FOR)

    def may_come_back(self, error: errors.Error) -> bool:
        """Whether a connection to the runtime that failed so is worth another attempt."""
        worth = error.retryable or isinstance(error, errors.HelperDead)  # which is replaced
        return isinstance(error, errors.ConnectionFailed) and worth and not self.known_gone()

    def start_with_helper(self, action: Callable[[Helper], T]) -> tuple[Helper, T]:
        """Start something through the helper, once more when the connection drops before the answer.

        Args:
            action: given a connection; doing it again does no harm.

        Returns:
            The connection that was used, for the caller to close, and what the action returned.

        Raises:
            errors.Error: it was not started.
        """
        dropped = False

        def once() -> tuple[Helper, T]:
            nonlocal dropped
            helper = self.connect_helper()
            try:
                return helper, action(helper)
            except BaseException as error:
                helper.close()
                dropped = isinstance(error, errors.ConnectionFailed)
                if isinstance(error, errors.HelperDead):
                    self.replace_helper()
                raise

        def again(error: errors.Error) -> bool:
            # A runtime that could not be reached to begin with was given its time already, by the connection itself.
            return dropped and error.retryable and self.may_come_back(error)

        return persist(once, again=again, attempts=STARTS)

    def revive_helper(self) -> None:
        """Replace a helper that does not answer any more. Hints promise that a restart does this."""
        if self.record.helper is None:
            return
        try:
            helper = self._connect_helper()
            try:
                helper.hello()
            finally:
                helper.close()
        except (errors.HelperSilent, errors.HelperDead, errors.HelperFailed):
            self.replace_helper()
            self.notify("the helper on the runtime did not answer; it was replaced")
        except errors.ConnectionFailed as error:
            logs.current().warn("SESSION", f"the helper cannot be reached: {error.message}")

    def replace_helper(self) -> None:
        """End a helper's kernel that the server has given up on; the next use starts another. Runs go on meanwhile."""
        if self.record.helper is not None:
            if not self.record.helper.shared:
                self.server.delete_kernel(self.record.helper.id)
            self._change(_forget_helper)

    # --- the record ---

    def _begin_lease(self, fresh: bool) -> None:
        """Write down since when the runtime is held, before the keeper is started."""

        def change(record: session_store.Record) -> None:
            if record.lease is None or fresh:
                record.lease = leases.fresh(leases.lease_of(record), time.time())

        self.store.change(self.record.id, change)

    def used(self) -> None:
        """Note the use of the session, at most once a minute; a state folder that cannot be written spoils no run.

        Call it repeatedly while traffic is carried: such a runtime is not idle. `activity` tells the runtime, too.
        """
        self.used_at = now = time.monotonic()
        if self._noted_at is not None and now - self._noted_at < session_store.TOUCH_INTERVAL:
            return
        self._noted_at = now
        try:
            self.store.touch(self.record)
        except errors.ConfigError as error:
            self.notify(f"the use of the session was not noted: {error.message}")

    def is_lost(self) -> bool:
        """Whether the lender says that the runtime is gone. False when the lender could not be asked."""
        try:
            return self.backend.is_gone(self.record)
        except errors.Error as error:
            logs.current().warn("SESSION", f"the lender could not be asked about the runtime: {error.message}")
            return False

    def known_gone(self) -> bool:
        """Whether it is known here that the runtime is gone. Asks nobody."""
        return self.backend.known_gone(self.record)

    def ended_by_lease(self) -> errors.Error | None:
        """The error for a runtime that a limit of its lease has ended, or is ending; None if none has."""
        stored = self.store.get(self.record.id)
        if stored is None or stored.lease is None or stored.lease.ended is None:
            return None
        return leases.ended(self.record.name, stored.lease)

    def end_of_runtime(self, what: str, hint: str) -> errors.Error | None:
        """The error for a runtime that has ended while `what` ran; None if it has not, or that is not certain."""
        stored = self.store.get(self.record.id)
        if stored is not None and (not lifecycle.is_accepted(stored) or leases.lease_of(stored).ended is not None):
            return self.loss(what, hint) if self.is_lost() else None
        return errors.RuntimeLost(
            f"session {self.record.name!r} was closed by another command while {what}, which ended that",
            name="SessionClosed",
            hint="what is held: lecoder-cgpu sessions list",
        )

    def loss(self, what: str, hint: str) -> errors.Error:
        """The error for a runtime that turned out to be gone while `what` ran; if a lease ended it, that says so."""
        if (ended := self.ended_by_lease()) is not None:
            ended.message = f"{ended.message}, while {what}"
            return ended
        return errors.RuntimeLost(
            f"the runtime of session {self.record.name!r} is gone; it was lost while {what}", hint=hint
        )

    def reading_command(self, run_id: str) -> str:
        """The command that prints all output of a run that the runtime keeps."""
        return f"lecoder-cgpu run --session {self.record.name} --attach {run_id} --json --max-output 0"


def known_as_ours(
    known: session_store.KernelRecord | None, kernel: session_store.KernelRecord
) -> session_store.KernelRecord:
    """A kernel as it is to be stored: if another process of ours started it, a close has to end it."""
    ours = kernel.ours or (known is not None and known.id == kernel.id and known.ours)
    return structs.replace(kernel, ours=ours)


def _forget_kernels(record: session_store.Record) -> None:
    record.kernel = record.helper = record.message_size = record.frame_form = None
    record.kernels, record.apart, record.machine_since = {}, False, None


def _forget_helper(record: session_store.Record) -> None:
    record.helper = None


def _no_python(specs: KernelSpecs) -> errors.HelperFailed:
    return errors.HelperFailed(
        f"the server has no Python kernel, which processes, jobs and status need; it has {specs.names()}",
        name="NoPythonKernel",
        hint="install ipykernel on the server; meanwhile code of its own language runs: "
        "lecoder-cgpu run -m kernel CODE",
    )
