"""What a session learns about the way to its runtime, and keeps: what does not pass there, and what is done instead."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from msgspec import structs

from .. import errors
from ..jupyter.frame_form import Form
from ..jupyter.kernelspecs import PYTHON, PYTHON_NAME
from ..store import opening
from ..store.session_store import KernelRecord, Record, Store

Notify = Callable[[str], None]


class Ways:
    """The part of a session in use that keeps what was learnt. Each thing is told once for a runtime."""

    record: Record
    store: Store
    notify: Notify

    @contextlib.contextmanager
    def _opening(self) -> Iterator[None]:
        """Nobody else opens kernels of this session meanwhile, and the record has those that others opened."""
        with opening.alone(self.store, self.record) as stored:
            mine = self.record
            if stored is not None and stored.runtime.endpoint == mine.runtime.endpoint:
                mine.helper, mine.apart, mine.machine_since = stored.helper, stored.apart, stored.machine_since
                if stored.kernel_name == mine.kernel_name:
                    mine.kernel, mine.kernels = stored.kernel, stored.kernels
            yield

    def _change(self, change: Callable[[Record], None]) -> None:
        """Change the record, here and in the store."""
        change(self.record)
        self.store.change(self.record.id, change)

    def _helper_inside(self, error: errors.Error) -> KernelRecord:
        """The session's own kernel, as the place of the helper where a second kernel was refused (protocol C39).

        Raises:
            errors.Error: that refusal, where there is no such kernel.
        """
        own = self.record.kernel
        if not _is_refused(error) or own is None or own.language not in (PYTHON, None):
            raise error
        self.notify(
            f"the runtime allows one kernel (HTTP {error.http_status}): commands, jobs and files are served by the "
            "session's own, slowly while it is busy, and a restart of it interrupts them"
        )
        return KernelRecord(id=own.id, path=own.path, ours=False, binary=False, shared=True)

    def _kernel_of_helper(self, error: errors.Error, wanted: str | None) -> KernelRecord:
        """The helper's kernel as that of the session, where a second one was refused (protocol C39). `wanted` is the
        kernelspec of the one that was asked for.

        Raises:
            errors.Error: that refusal, where there is no helper, or another language is wanted.
        """
        helper = self.record.helper
        if not _is_refused(error) or helper is None or wanted not in (None, PYTHON_NAME):
            raise error
        self.notify(
            f"the runtime allows one kernel (HTTP {error.http_status}): code runs in the one that serves commands, "
            "jobs and files, which are slow while it is busy"
        )

        def change(record: Record) -> None:
            if record.helper is not None:
                record.helper = structs.replace(record.helper, shared=True, binary=False)

        self._change(change)
        return KernelRecord(id=helper.id, path=helper.path, ours=helper.ours, name=PYTHON_NAME, language=PYTHON)

    def note_binary(self, passes: bool) -> None:
        """Remember whether binary frames pass, for the files of this runtime."""

        def change(record: Record) -> None:
            if record.helper is not None:
                record.helper = structs.replace(record.helper, binary=passes)

        self._change(change)
        if not passes:
            self.notify("binary messages do not pass to this runtime: files go as text, which takes a third more")

    def note_message_size(self, most: int | None) -> None:
        """Remember that only messages of at most this many bytes pass to or from this runtime; None: all that usually
        do."""
        told = self.record.message_size is not None or most is None

        def change(record: Record) -> None:
            record.message_size = most

        self._change(change)
        if not told:
            self.notify("large messages do not pass to or from this runtime: code and files go in smaller parts")

    def note_frame_form(self, form: Form) -> None:
        """Remember in which form the server takes and sends the frames of kernels."""

        def change(record: Record) -> None:
            record.frame_form = form

        self._change(change)
        if form != "agreed":
            spoken = "the default form" if form == "default" else "the v1 form"
            self.notify(f"the server speaks {spoken} of Jupyter's messages, and not the one that it agrees to")


def _is_refused(error: errors.Error) -> bool:
    """Whether a server refused to start a kernel, in a way that may mean that there are enough."""
    return error.http_status in (400, 403, 405, 409, 429, 500, 501, 503)
