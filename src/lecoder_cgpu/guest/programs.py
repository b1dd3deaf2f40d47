"""Parts of the helper as processes of their own, which outlive it: `supervisor` and `lease_guard`.

Runs on the runtime as a part of the helper (Python 3.8 and newer, standard library only). The helper is known by its
sources only, so it writes them into a folder, where a program finds every part that it imports. The folder's name is
the hash of its content: helpers of several versions use the same home side by side.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys

# Makes the folder of this file a package and calls a program's `main`. Importing `importlib` would cost more than this.
_START = """
import os, sys, types
package = types.ModuleType("lecoder_guest")
package.__path__ = [os.path.dirname(os.path.abspath(__file__))]
sys.modules["lecoder_guest"] = package
__import__("lecoder_guest." + sys.argv[1], fromlist=["main"]).main()
"""


class Programs:
    """The programs of this helper.

    Args:
        home: the folder of this tool on the runtime.
        sources: the text of every part, by name.

    Raises:
        OSError: they cannot be written.
    """

    def __init__(self, home: str, sources: dict[str, str]) -> None:
        texts = {f"{name}.py": text for name, text in sources.items()}
        texts["start.py"] = _START
        digest = hashlib.sha256()
        for name in sorted(texts):
            digest.update(f"{name}\0{texts[name]}\0".encode())
        self._folder = os.path.join(home, f"programs-{digest.hexdigest()[:12]}")
        os.makedirs(self._folder, mode=0o700, exist_ok=True)
        for name, text in texts.items():
            _write(os.path.join(self._folder, name), text)

    def command(self, program: str, *arguments: str) -> list[str]:
        """The command line that starts a program; it finds the arguments from `sys.argv[2]` on."""
        return [sys.executable, "-I", "-S", os.path.join(self._folder, "start.py"), program, *arguments]


def _write(path: str, text: str) -> None:
    """Write a source whole, unless it is there already: a process may be importing it at this moment."""
    content = text.encode()
    with contextlib.suppress(OSError), open(path, "rb") as file:
        if file.read() == content:
            return
    temporary = f"{path}.{os.getpid()}.tmp"
    with open(temporary, "wb") as file:
        file.write(content)
    os.replace(temporary, path)
