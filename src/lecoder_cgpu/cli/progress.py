"""A progress bar for people, drawn on stderr once a transfer takes longer than a moment."""

from __future__ import annotations

import time
from typing import Any

from .. import config
from .plain_text import printable

PATIENCE = 0.5  # seconds before anything is drawn


class Bar:
    """Files and bytes done so far; `rich` is imported when the first line is drawn."""

    def __init__(self, title: str) -> None:
        self._title = printable(title)
        self._began = time.monotonic()
        self._files = self._bytes = 0
        self._drawn: Any = None
        self._task: Any = None

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *_: object) -> None:
        if self._drawn is not None:
            self._drawn.stop()

    def advance(self, files: int, size: int) -> None:
        """Count what was done since the last call."""
        self._files += files
        self._bytes += size
        if self._drawn is None and time.monotonic() - self._began > PATIENCE:
            self._draw()
        if self._drawn is not None:
            self._drawn.update(self._task, completed=self._bytes, files=self._files)

    def _draw(self) -> None:
        from rich.console import Console
        from rich.progress import DownloadColumn, Progress, SpinnerColumn, TextColumn, TransferSpeedColumn

        self._drawn = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            TextColumn("{task.fields[files]} files"),
            DownloadColumn(binary_units=True),
            TransferSpeedColumn(),
            transient=True,
            console=Console(stderr=True, no_color=not config.colour_allowed()),
        )
        self._task = self._drawn.add_task(self._title, total=None, files=self._files, completed=self._bytes)
        self._drawn.start()
