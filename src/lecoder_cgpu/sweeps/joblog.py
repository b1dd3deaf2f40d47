"""A log of the items that have ended, in the columns of GNU parallel's `--joblog`, for tools that read those."""

from __future__ import annotations

import os
from collections.abc import Sequence

from .. import errors
from ..runs.process_runs import signal_number
from . import template
from .standing import Standing

COLUMNS = ("Seq", "Host", "Starttime", "JobRuntime", "Send", "Receive", "Exitval", "Signal", "Command")


class JobLog:
    """A file with one line for each item that has ended; what it held is replaced.

    Raises:
        errors.UsageError: it cannot be written.
    """

    def __init__(self, path: str, words: Sequence[str], standings: Sequence[Standing]) -> None:
        self._words = words
        try:
            self._file = open(os.path.expanduser(path), "w", encoding="utf-8", errors="surrogateescape")  # noqa: SIM115 - as long as the sweep
        except OSError as error:
            raise errors.UsageError(
                f"--joblog {path}: it cannot be written: {error.strerror}", hint="--joblog sweep.log"
            ) from error
        self._file.write("\t".join(COLUMNS) + "\n")
        for standing in standings:
            if standing.has_result:
                self.add(standing)
        self._file.flush()

    def add(self, standing: Standing) -> None:
        """Add the line of an item that has ended."""
        signal = signal_number(standing.signal) if standing.signal else 0
        status = standing.exit if standing.exit is not None else -1
        cells = (
            str(standing.number),
            standing.session,
            f"{standing.started or 0:.3f}",
            f"{standing.seconds or 0:10.3f}",
            "0",
            "0",
            str(0 if signal else status),
            str(signal),
            template.shown(self._words, standing.item).replace("\t", " ").replace("\n", " "),
        )
        self._file.write("\t".join(cells) + "\n")
        self._file.flush()

    def close(self) -> None:
        self._file.close()
