"""Opens the recording of a kernel run that is watched, when its socket has lost something."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..jupyter.watch_driver import Recorder
from ..sessions.session import Session

if TYPE_CHECKING:
    from .recording import RecordingReader


def recorder(session: Session) -> Recorder | None:
    """Opens the recording of one run in the session's kernel, if that is recorded.

    Where nobody knows, there may be one: the helper was asked to record, and its answer was lost.

    Opened again, it goes on where it was: a connection that breaks every few megabytes would otherwise never come to
    the end of a large recording.
    """
    kernel = session.kernel_record
    if kernel is None or kernel.recorded is False:
        return None
    kernel_id = kernel.id
    opened: RecordingReader | None = None

    def open_recording(run: str, after: str | None) -> RecordingReader:
        nonlocal opened
        from .recording import RecordingReader

        helper = session.connect_helper()
        if opened is None:
            opened = RecordingReader(helper, run, after, kernel_id)
        else:
            opened.resume(helper)
        return opened

    return open_recording
