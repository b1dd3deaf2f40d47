"""A document that an option has written to a file of this machine: whole, or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path

from .. import errors
from ..system import atomic_files


def write(file: str, content: bytes, option: str) -> str:
    """Write the file, and return its whole path.

    Args:
        option: that names the file.

    Raises:
        errors.UsageError: (`FileNotWritable`) it cannot be written.
    """
    path = Path(os.path.realpath(Path(file).expanduser()))  # a link that a person has named is followed
    part = path.with_name(f".{path.name[:200]}.{os.urandom(4).hex()}.part")
    try:
        if not atomic_files.is_replaceable(path):
            raise OSError(errno.EINVAL, "it is no file")
        with part.open("xb") as target:  # "x": never through a link that waits there
            target.write(content)
        part.replace(path)
    except (OSError, ValueError) as error:
        with contextlib.suppress(OSError, ValueError):  # what kept it from being written
            part.unlink(missing_ok=True)
        raise errors.UsageError(
            f"{file} cannot be written: {getattr(error, 'strerror', None) or error}",
            name="FileNotWritable",
            hint=f"the same command with {option} FILE in a folder that exists, and that may be written to",
        ) from error
    return str(path)
