"""What this machine refuses us, told as that: a full disk or too few file descriptors is no bug of ours."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator

from .. import errors

DISK = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))
FILES = (errno.EMFILE, errno.ENFILE)
REFUSED = {
    errno.EROFS: "free it for writing, or set LECODER_CGPU_CONFIG_DIR to a folder on another disk",
    errno.EIO: "look at that disk, or set LECODER_CGPU_CONFIG_DIR to a folder on another one",
    errno.EAGAIN: "end other processes of yours, or raise their limit: ulimit -u",
    errno.ENOMEM: "end other programs, then repeat the same command",
}


def of_this_machine(error: BaseException) -> errors.Error:
    """What an exception that nobody expected means: the fault of this machine behind it, or else a bug of ours."""
    for cause in _chain(error):
        found = _machine(cause)
        if found is not None:
            return found
    return errors.InternalError(
        f"{type(error).__name__}: {error}",
        name="InternalError",
        hint="this is a bug in lecoder-cgpu; `lecoder-cgpu debug tail` has the details to report",
    )


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """The exception and those behind it, at most twenty."""
    for _ in range(20):
        if error is None:
            return
        yield error
        error = error.__cause__ or error.__context__


def _machine(error: BaseException) -> errors.Error | None:
    if isinstance(error, UnicodeEncodeError) and any(not _is_text(word) for word in sys.argv):
        return errors.UsageError(
            "an argument holds bytes that are not UTF-8, and this place takes text alone",
            name="NotText",
            hint="give it in UTF-8 (uploads and downloads take names of any bytes), then repeat the same command",
        )
    if isinstance(error, FileNotFoundError) and not _has_folder():
        return errors.NotFoundError(
            "the folder in which this command was started is gone",
            name="NoWorkingFolder",
            hint="change to one that exists (cd), then repeat the same command",
        )
    if isinstance(error, ImportError):
        return _incomplete(error)
    if not isinstance(error, OSError):
        return None
    where = f"{error.filename}: " if isinstance(error.filename, str) else ""
    if error.errno in DISK:
        return errors.ConfigError(
            f"{where}the disk is full ({error.strerror})",
            name="DiskFull",
            hint="free some space, or set LECODER_CGPU_CONFIG_DIR to a folder on another disk",
        )
    if error.errno in FILES:
        return errors.ConfigError(
            f"{where}too few files may be open at once ({error.strerror})",
            name="TooFewFiles",
            hint="allow more, then repeat the same command: ulimit -n 1024",
        )
    if error.errno in REFUSED:
        return errors.ConfigError(f"{where}{error.strerror}", name="MachineRefused", hint=REFUSED[error.errno])
    return None


def _incomplete(error: ImportError) -> errors.Error | None:
    """A package that is missing, or too old to have what we need; None if it is a part of ours."""
    module = (error.name or "").partition(".")[0]
    if not module or module in ("lecoder_cgpu", *sys.builtin_module_names):
        return None
    from .. import config

    extra = next((name for name, modules in config.EXTRAS.items() if module in modules), None)
    wanted = "lecoder-cgpu" if extra is None else f"lecoder-cgpu[{extra}]"
    return errors.ConfigError(
        f"the package {module} is missing here, or does not fit: {error}",
        name="PackageMissing",
        hint=f"pip install --upgrade '{wanted}'; lecoder-cgpu doctor shows what is installed",
    )


def close_to_others() -> None:
    """Let nothing that we write be open to writing by everybody on this machine, whatever our umask was."""
    os.umask(os.umask(0o077) | 0o002)


def _is_text(word: str) -> bool:
    try:
        word.encode()
    except UnicodeEncodeError:
        return False
    return True


def _has_folder() -> bool:
    try:
        os.getcwd()
    except OSError:
        return False
    return True
