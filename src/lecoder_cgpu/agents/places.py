"""Which files of this machine an agent's tools may touch.

Those below the folders that the client works in (its roots, as the protocol calls them), or below the working folder of
the server when the client has no such folders to name; and those that a person has allowed when the server was started.
Never our own folder, which holds logins and tokens of runtimes.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from .. import errors
from ..files import plan
from ..guest.trees import is_inside

_ALLOW = "a person can allow more: lecoder-cgpu mcp --allow PATH"


def folder_of(root: str) -> str | None:
    """The folder that a root names, an address with `file://`; None where it is no folder of this machine."""
    try:
        parts = urlsplit(root)
        path = url2pathname(parts.path)
    except ValueError:
        return None
    here = parts.scheme.lower() == "file" and parts.netloc in ("", "localhost")
    return path if here and path and "\0" not in path else None


class Places:
    """Folders that tools may read and write in.

    Args:
        roots: of the client, which may have named none; None when it cannot name any. Then the working folder counts,
            unless that is the home folder or holds it.
        allowed: more of them, named by a person.
        own: our own folders, which stay closed whatever is allowed.
    """

    def __init__(
        self, roots: Sequence[str] | None = None, allowed: Sequence[str] = (), own: Sequence[Path] = ()
    ) -> None:
        self._here = _working_folder()
        self._why = "the client named none"
        if roots is None:
            roots, home = [], os.path.realpath(os.path.expanduser("~"))
            if self._here is None:
                self._why = "the working folder was deleted"
            elif is_inside(home, self._here):
                self._why = f"the client cannot name any, and {self._here} holds more than one piece of work"
            else:
                roots = [self._here]
        self._roots = [_real(path) for path in (*roots, *allowed)]
        self._own = [_real(str(path)) for path in own]

    def sources(self, paths: Sequence[str]) -> list[str]:
        """Full paths of what is to be read, patterns expanded.

        Raises:
            errors.UsageError: (`OutsideRoots`, `OwnFolder`) it may not be touched, or is an address.
            errors.NotFoundError: it is missing.
        """
        found = plan.expand([self._inside(path) for path in paths])
        return [self._closed(self._inside(path), path) for path in found]

    def target(self, path: str | None, sources: Sequence[str]) -> str:
        """The full path of where sources of the runtime land; it keeps a final slash.

        Raises:
            errors.UsageError: (`OutsideRoots`, `OwnFolder`) it may not be touched, or is an address.
        """
        target = self._inside(path or "./")
        for source in sources:
            name = "" if plan.has_magic(source) else plan.remote_name(source)
            self._closed(os.path.join(target, name).rstrip("/"), path or ".")
        return self._closed(target, path or ".") if not sources else target

    def _inside(self, path: str) -> str:
        plan.check_no_address([path])
        if not self._roots:
            raise errors.UsageError(
                f"{path}: there is no folder that tools may touch: {self._why}", name="OutsideRoots", hint=_ALLOW
            )
        expanded = os.path.expanduser(path)
        inside = self._here is not None and any(is_inside(self._here, root) for root in self._roots)
        start = self._here if self._here is not None and inside else self._roots[0]
        real = os.path.realpath(os.path.join(start, expanded))
        if not any(is_inside(real, root) for root in self._roots):
            raise errors.UsageError(
                f"{path} is outside of the folders that tools may touch: {_listed(self._roots)}",
                name="OutsideRoots",
                hint=f"name something in one of these; {_ALLOW}",
            )
        return real + "/" if expanded.endswith(("/", os.sep)) or path in (".", "..") else real

    def _closed(self, real: str, shown: str) -> str:
        plain = real.rstrip("/") or "/"
        if any(_holds(own, plain) or _holds(plain, own) for own in self._own):
            raise errors.UsageError(
                f"{shown} is or holds the folder with our own logins and tokens, which tools do not touch",
                name="OwnFolder",
                hint="name single files or folders beside it: lecoder-cgpu upload PATH is for persons",
            )
        return real


def _working_folder() -> str | None:
    """Where this process works; None when that folder was deleted."""
    try:
        return os.path.realpath(os.getcwd())
    except OSError:
        return None


def _holds(folder: str, path: str) -> bool:
    """Whether a path is this folder or below it, under whatever name: disks may take names in any case, and show one
    folder in two places."""
    if is_inside(path, folder):
        return True
    try:
        wanted = os.stat(folder)
    except OSError:
        return False
    for place in (Path(path), *Path(path).parents):
        try:
            if os.path.samestat(os.stat(place), wanted):
                return True
        except OSError:  # it is still to be made
            continue
    return False


def _listed(roots: Sequence[str]) -> str:
    more = len(roots) - 3
    return ", ".join(roots[:3]) + (f" and {more} more" if more > 0 else "")


def _real(path: str) -> str:
    return os.path.realpath(os.path.expanduser(path))
