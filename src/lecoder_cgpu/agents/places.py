"""Which files of this machine an agent's tools may touch.

Those below the folders that the client works in (its roots, as the protocol calls them), or below the working folder of
the server when the client names none; and those that a person has allowed when the server was started. Never our own
folder, which holds logins and tokens of runtimes.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from .. import errors
from ..files import plan
from ..guest.trees import is_inside


class Places:
    """Folders that tools may read and write in.

    Args:
        roots: of the client; the working folder when it has none.
        allowed: more of them, named by a person.
        own: our own folders, which stay closed whatever is allowed.
    """

    def __init__(self, roots: Sequence[str] = (), allowed: Sequence[str] = (), own: Sequence[Path] = ()) -> None:
        self._roots = [_real(path) for path in (*(roots or ["."]), *allowed)]
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
        return target

    def _inside(self, path: str) -> str:
        plan.check_no_address([path])
        expanded = os.path.expanduser(path)
        here = os.getcwd()
        start = here if any(is_inside(os.path.realpath(here), root) for root in self._roots) else self._roots[0]
        real = os.path.realpath(os.path.join(start, expanded))
        if not any(is_inside(real, root) for root in self._roots):
            raise errors.UsageError(
                f"{path} is outside of the folders that tools may touch: {', '.join(self._roots)}",
                name="OutsideRoots",
                hint="name something in one of these; a person can allow more: lecoder-cgpu mcp --allow PATH",
            )
        return real + "/" if expanded.endswith(("/", os.sep)) or path in (".", "..") else real

    def _closed(self, real: str, shown: str) -> str:
        plain = real.rstrip("/") or "/"
        if any(is_inside(plain, own) or is_inside(own, plain) for own in self._own):
            raise errors.UsageError(
                f"{shown} is or holds the folder of lecoder-cgpu itself, with logins and tokens; tools do not touch it",
                name="OwnFolder",
                hint="name single files or folders beside it: lecoder-cgpu upload PATH is for persons",
            )
        return real


def _real(path: str) -> str:
    return os.path.realpath(os.path.expanduser(path))
