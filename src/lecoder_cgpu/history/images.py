"""Images that runs showed, kept beside the history: it refers to them by the hash of their content.

They are bounded in size, each and together; the oldest go first. Nothing else in the history depends on them.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import errors
from ..jupyter import outputs
from ..system import atomic_files, logs

if TYPE_CHECKING:
    from ..models.runs import DisplayData

MAX_IMAGE = 4 << 20  # bytes of one image
MAX_TOTAL = 200 << 20  # bytes of all of them
PRUNE_EVERY = 20  # images between two looks at the total
_NAME = re.compile(r"[0-9a-f]{64}")


class Images:
    """The owner of the folder `images` in the state folder `folder`."""

    def __init__(self, folder: Path, max_total: int = MAX_TOTAL) -> None:
        self.folder = folder / "images"
        self._max_total = max_total

    def keep(self, displays: Sequence[DisplayData]) -> None:
        """Keep the images among rich outputs. If the folder cannot be written, only the images are lost."""
        for display in displays:
            for mime, value in display.data.items():
                content = image(mime, value)
                if content is None or len(content) > MAX_IMAGE:
                    continue
                try:
                    self._store(digest(content), content)
                except (OSError, errors.ConfigError) as error:
                    logs.current().warn("HISTORY", "an image could not be kept", error=error)
                    return

    def _store(self, name: str, content: bytes) -> None:
        path = self.folder / name
        if path.exists():
            path.touch()  # it counts as new, so it is deleted later
            return
        atomic_files.ensure_dir(self.folder)
        atomic_files.write_atomic(path, content)
        if int(name[:8], 16) % PRUNE_EVERY == 0:
            self._prune()

    def _prune(self) -> None:
        found = []
        for path in self.folder.iterdir():
            with contextlib.suppress(OSError):
                found.append((path.stat().st_mtime, path.stat().st_size, path))
        total = 0
        for _, size, path in sorted(found, reverse=True):
            total += size
            if total > self._max_total:
                path.unlink(missing_ok=True)

    def read(self, name: str) -> bytes | None:
        """An image by its hash, None if it is not stored, or no longer."""
        if not _NAME.fullmatch(name):
            return None
        with contextlib.suppress(OSError):
            content = (self.folder / name).read_bytes()
            return content if digest(content) == name else None
        return None

    def clear(self) -> None:
        """Delete all of them.

        Raises:
            errors.ConfigError: the folder cannot be written.
        """
        for path in self.folder.iterdir() if self.folder.is_dir() else ():
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise atomic_files.unusable(path, error) from error


def image(mime: str, value: Any) -> bytes | None:
    """The bytes of one format of a rich output, None when it is no image."""
    if not mime.startswith("image/") or mime not in outputs.EXTENSIONS:
        return None
    return outputs.content(mime, value)


def digest(content: bytes) -> str:
    """The file name of an image."""
    import hashlib

    return hashlib.sha256(content).hexdigest()
