"""The files of a session through the library, with its connections closed afterwards."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from lecoder_cgpu.files.commands import Storage
from lecoder_cgpu.files.transfer import Progress
from lecoder_cgpu.sessions.manager import SessionManager


@contextlib.contextmanager
def files_of(client: SessionManager, progress: Progress | None = None) -> Iterator[Storage]:
    """The files of the client's active session."""
    with client.session() as session, Storage(session, progress) as files:
        yield files
