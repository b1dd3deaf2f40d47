"""Edits a file of the runtime with an editor of this machine."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

from .. import errors
from ..guest import trees
from ..helper.file_documents import Found, Stat
from ..helper.file_errors import error_of
from . import plan
from .download import Download
from .upload import Upload


class Edit:
    """Fetches a file, has it edited, and saves it. See `Storage.edit`.

    Args:
        notify: tells the user something.
    """

    def __init__(self, upload: Upload, download: Download, notify: Callable[[str], None]) -> None:
        self._upload = upload
        self._download = download
        self._notify = notify

    def run(self, stat: Stat, editor: Callable[[str], None]) -> tuple[bool, str]:
        """Whether the file was saved, and the SHA-256 in hex of what the runtime has now.

        What the user has written is deleted only when the runtime has it.
        """
        path, entry = stat.path, stat.entry
        assert entry is not None
        folder = tempfile.mkdtemp(prefix="lecoder-cgpu-edit-")
        local = os.path.join(folder, plan.remote_name(path) or "file")
        content = Path(local)
        known, saved = "", False  # hash of what the runtime has

        def edited() -> bool:
            return bool(known) and content.is_file() and sha256(content.read_bytes()).hexdigest() != known

        try:
            known = self._download.file(path, local, stat=stat).digests[""]
            editor(local)
            if not content.exists():
                raise error_of(trees.Problem("FileNotFound", f"{local}: the editor has removed it"), "nothing saved")
            if os.name == "posix" and entry.mode is not None:
                os.chmod(local, entry.mode & 0o777)
            if edited():
                os.utime(local)
                expected = Found(entry.size, entry.mtime)
                known = self._upload.file(local, stat.real, expect=expected).digests[""]
                saved = True
            return saved, known
        except errors.Error as error:
            if edited():
                error.hint = f"what you wrote is in {local}"
            raise
        except KeyboardInterrupt:
            if edited():
                self._notify(f"what you wrote is in {local}")
            raise
        finally:
            if not edited():
                shutil.rmtree(folder, ignore_errors=True)
