"""Files of a session's runtime."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from .. import results
from .session_base import SessionBase, some

if TYPE_CHECKING:
    from ..files.transfer import Progress
    from ..results import FileList, FilesRemoved, Synced, Transfer

__all__ = ["FileMethods"]


class FileMethods(SessionBase):
    """What a session does with files. `progress` is called with how many more files and bytes are done."""

    def upload(self, *sources: str | Path, to: str | None = None, progress: Progress | None = None) -> Transfer:
        """Copy files and folders to the runtime; into `to` if it ends with a slash or is a folder.

        Raises:
            errors.Error: something was not copied. No incomplete file has a final name.
        """
        some(sources, "upload", "what to copy")
        with self._storage(progress) as files:
            return results.of(files.upload([str(source) for source in sources], to))

    def download(self, *sources: str, to: str | Path | None = None, progress: Progress | None = None) -> Transfer:
        """Copy files and folders from the runtime; patterns are expanded there.

        Raises:
            errors.Error: something was not copied. No incomplete file has a final name.
        """
        some(sources, "download", "what to copy")
        with self._storage(progress) as files:
            return results.of(files.download(sources, None if to is None else str(to)))

    def sync(
        self,
        local: str | Path,
        remote: str,
        *,
        checksum: bool = False,
        delete: bool = False,
        dry_run: bool = False,
        progress: Progress | None = None,
    ) -> Synced:
        """Make a folder on the runtime hold the same as a local one (see `lecoder-cgpu sync`).

        Raises:
            errors.Error: something could not be done. What was done before is complete.
        """
        with self._storage(progress) as files:
            return results.of(files.sync(str(local), remote, checksum=checksum, delete=delete, dry_run=dry_run))

    def list_files(self, path: str = ".") -> FileList:
        """What is in a folder of the runtime, or what a file is; `lecoder-cgpu ls`.

        Raises:
            errors.FileNotFound: there is no such path.
        """
        with self._storage() as files:
            return results.of(files.list(path))

    def read_file(self, path: str) -> bytes:
        """The content of a file of the runtime; `lecoder-cgpu cat`.

        Raises:
            errors.FileNotFound: there is no such file. errors.UsageError: it is a folder.
        """
        content = bytearray()
        with self._storage() as files:
            files.read(path, content.extend)
        return bytes(content)

    def remove_files(self, *paths: str, recursive: bool = False, missing_ok: bool = False) -> FilesRemoved:
        """Delete files of the runtime, and with `recursive` folders; patterns are expanded there; `lecoder-cgpu rm`.

        Raises:
            errors.FileNotFound: there is no such path, unless `missing_ok`. errors.UsageError: it is a folder.
        """
        some(paths, "remove_files", "what to delete")
        with self._storage() as files:
            return results.of(files.remove(paths, recursive=recursive, missing_ok=missing_ok))

    ls, cat, rm = list_files, read_file, remove_files  # as the command line calls them
