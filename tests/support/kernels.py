"""Kernels of other languages than Python for tests: bash (`bash_kernel`), one that says it is R, and one that is late.

The second is a program of this file on ipykernel's base class, as most small kernels are. It shows the code that it
gets, fails for `stop("TEXT")` as IRkernel does, and says of a `Sys.sleep(SECONDS)` that was interrupted what IRkernel
says: `abort`, without an exception, an output or a count. The third sends as Deno may: ids without numbers, and output
after `idle`.
"""

from __future__ import annotations

import json
import re
import sys
import threading
import time
import uuid
from pathlib import Path
from typing import Any

from ipykernel.kernelapp import IPKernelApp
from ipykernel.kernelbase import Kernel
from jupyter_client.session import Session

BASH, R, LATE = "bash", "tests-r", "tests-late"


class RLike(Kernel):
    """Says that it runs R."""

    implementation = "tests-r"
    implementation_version = "1"
    language_info = {"name": "R", "mimetype": "text/x-r-source", "file_extension": ".r"}  # noqa: RUF012 - traitlets'
    banner = "R, as far as tests need it"

    async def do_execute(
        self, code: str, silent: bool, store_history: bool = True, user_expressions: Any = None, *_: Any, **__: Any
    ) -> dict[str, Any]:
        send: Any = self.send_response  # ipykernel has no types for it
        if not silent:
            send(self.iopub_socket, "stream", {"name": "stdout", "text": f"R: {code}\n"})
        if found := re.search(r'stop\("(.*)"\)', code):
            error = {"ename": "ERROR", "evalue": f"Error in f(): {found[1]}\n", "traceback": ["Traceback:", "1. f()"]}
            send(self.iopub_socket, "error", error)
            return {"status": "error", "execution_count": self.execution_count, **error}
        if found := re.search(r"Sys\.sleep\((.*?)\)", code):
            try:
                time.sleep(float(found[1]))
            except KeyboardInterrupt:
                return {"status": "abort"}
        return {"status": "ok", "execution_count": self.execution_count, "payload": [], "user_expressions": {}}

    async def do_is_complete(self, code: str) -> dict[str, Any]:
        complete = code.count("{") <= code.count("}")
        return {"status": "complete"} if complete else {"status": "incomplete", "indent": "  "}


class PlainIds(Session):
    """Numbers nothing."""

    @property
    def msg_id(self) -> str:
        return str(uuid.uuid4())


class Late(RLike):
    """Sends each word of its code when it has said `idle`, 60 ms apart."""

    language_info = {"name": "typescript", "file_extension": ".ts"}  # noqa: RUF012 - traitlets'

    async def do_execute(self, code: str, silent: bool, *_: Any, **__: Any) -> dict[str, Any]:
        this: Any = self
        parent = this.get_parent("shell")

        def send() -> None:
            session: Any = self.session
            for word in [] if silent else code.split():
                time.sleep(0.06)
                session.send(self.iopub_socket, "stream", {"name": "stdout", "text": f"{word}\n"}, parent=parent)

        threading.Thread(target=send).start()
        return {"status": "ok", "execution_count": self.execution_count, "payload": [], "user_expressions": {}}


def install(home: Path) -> None:
    """Write the specs of all for a server whose home is that folder."""
    specs = {
        BASH: {"argv": ["-m", "bash_kernel"], "display_name": "Bash", "language": "bash"},
        R: {"argv": [__file__], "display_name": "R of the tests", "language": "R"},
        LATE: {"argv": [__file__, LATE], "display_name": "Late", "language": "typescript"},
    }
    for name, spec in specs.items():
        folder = home / ".local" / "share" / "jupyter" / "kernels" / name
        folder.mkdir(parents=True)
        command = [sys.executable, *spec["argv"], "-f", "{connection_file}"]
        (folder / "kernel.json").write_text(json.dumps({**spec, "argv": command}))


if __name__ == "__main__":
    is_late = LATE in sys.argv
    if is_late:
        sys.argv.remove(LATE)
    application: Any = IPKernelApp.instance(kernel_class=Late if is_late else RLike)
    application.initialize()
    if is_late:
        application.kernel.session.__class__ = PlainIds
    application.start()
