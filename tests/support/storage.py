"""The files of a session through the library, with its connections closed afterwards."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from lecoder_cgpu.client import Client
from lecoder_cgpu.storage import Storage
from lecoder_cgpu.transfers import Progress


@contextlib.contextmanager
def files_of(client: Client, progress: Progress | None = None) -> Iterator[Storage]:
    """The files of the client's active session."""
    with client.session() as session, Storage(session, progress) as files:
        yield files
