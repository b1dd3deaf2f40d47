"""What a problem with a file means for the user: the class of error, and what to do next."""

from __future__ import annotations

from .. import errors
from ..guest import trees

HERE, THERE = "here", "on the runtime"

# The class for each name of a `trees.Problem`. Any other name is a transfer that failed.
KINDS: dict[str, type[errors.Error]] = {
    "FileNotFound": errors.FileNotFound,
    "IsADirectory": errors.OtherKindOfFile,
    "NotADirectory": errors.OtherKindOfFile,
    "FileExists": errors.UsageError,
    "UnsafeName": errors.UsageError,
    "NameTooLong": errors.UsageError,
    "FolderNotEmpty": errors.UsageError,
    "NotAFile": errors.OtherKindOfFile,
    "IsALink": errors.UsageError,
    "FileChanged": errors.FileChanged,
    "PermissionDenied": errors.PermissionDenied,
    "VerifyFailed": errors.VerifyFailed,
    "PageLost": errors.PageLost,
    "HelperFailed": errors.InternalError,
    "NoSuchCall": errors.InternalError,
}
_HINTS = {
    "PermissionDenied": "choose another place, or change the permissions",
    "FileChanged": "repeat the same command when nothing writes to the file",
    "VerifyFailed": "repeat the same command",
    "FolderNotEmpty": "add --recursive",
    "IsALink": "name the file that it leads to; or: rm LINK",
}


def error_of(problem: trees.Problem, where: str) -> errors.Error:
    """The error for a problem with a file.

    Args:
        where: the side on which it happened, as the message shows it: `HERE`, `THERE`, or other words.
    """
    kind = KINDS.get(problem.name, errors.TransferError)
    listing = "lecoder-cgpu ls FOLDER" if where == THERE else "ls FOLDER"
    hints = {
        **_HINTS,
        "DiskFull": f"{'lecoder-cgpu rm' if where == THERE else 'rm'} PATH makes room; then repeat the same command",
        "FileNotFound": f"see what is there: {listing}",
    }
    hint = hints.get(problem.name)
    if hint is None and issubclass(kind, errors.UsageError):
        hint = f"give another path; see what is there: {listing}"
    return kind(f"{problem.message} ({where})", name=problem.name, hint=hint)
