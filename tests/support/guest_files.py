"""The helper's files without a server: the real code of both ends, with a queue in the place of the WebSocket."""

from __future__ import annotations

import contextlib
import json
import struct
import sys
import types
from collections import deque
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path
from typing import Any

from lecoder_cgpu import errors
from lecoder_cgpu.guest.files import Files
from lecoder_cgpu.guest.service import Service
from lecoder_cgpu.helper import bootstrap
from lecoder_cgpu.helper.client import Helper
from lecoder_cgpu.helper.file_service import FileService
from lecoder_cgpu.jupyter import messages


class Loopback:
    """A socket to a kernel in this process. Calls are evaluated as a kernel would; requests about files go to `files`.

    Args:
        answers: after this many answers, the connection is lost; None for never.
    """

    subprotocol = messages.V1_SUBPROTOCOL
    close_code: int | None = None

    def __init__(self, files: Files, answers: int | None = None) -> None:
        self._files = files
        self._left = answers
        self._frames: deque[bytes] = deque()

    def send(self, frame: str | bytes) -> None:
        request = messages.decode(frame, self.subprotocol)
        if request.type == "execute_request":
            content = {
                "status": "ok",
                "user_expressions": {
                    name: {"status": "ok", "data": eval(text)._repr_mimebundle_()}
                    for name, text in request.content["user_expressions"].items()
                },
            }
            self._reply(request, content, [])
        else:
            self._reply(request, {}, self._files.serve(*request.buffers[:2]))

    def _reply(self, request: messages.Message, content: dict[str, Any], buffers: list[bytes]) -> None:
        header = {"msg_id": messages.new_id(), "msg_type": request.type.replace("_request", "") + "_reply"}
        parent = {"msg_id": request.header.msg_id, "msg_type": request.type}
        documents = [header, parent, {}, content]
        parts = [b"shell", *(json.dumps(document).encode() for document in documents), *map(bytes, buffers)]
        offsets = list(accumulate((len(part) for part in parts), initial=8 * (len(parts) + 2)))
        self._frames.append(struct.pack(f"<{len(offsets) + 1}Q", len(offsets), *offsets) + b"".join(parts))

    def receive(self, timeout: float | None = None) -> bytes | None:
        if self._left == 0:
            raise errors.ConnectionFailed("the line was cut")
        if self._left is not None:
            self._left -= 1
        return self._frames.popleft() if self._frames else None

    def close(self) -> None:
        self._frames.clear()


class GuestFiles:
    """A helper on this machine, whose working folder is `root`."""

    def __init__(self, service: Service, root: Path) -> None:
        self.root = root
        self.files: Files = service.files
        self.aside = service.aside
        self.cuts: list[int] = []  # answers after which each next connection is lost

    def connect(self, cause: errors.ConnectionFailed | None = None) -> Helper:
        """Another connection to the helper."""
        helper = Helper(Loopback(self.files, self.cuts.pop(0) if self.cuts else None), "session")
        helper.binary = True
        return helper

    def open(self) -> FileService:
        service = FileService(self.connect)
        service.open()
        return service


@contextlib.contextmanager
def guest_files(folder: Path) -> Iterator[GuestFiles]:
    """A helper that works below a folder."""
    root = folder / "runtime"
    root.mkdir()
    service = Service(lambda kind, content: None, "test", bootstrap.sources(), home=str(folder / "home"), cwd=str(root))
    service.takes_files = True
    module = types.ModuleType(bootstrap.module_name())
    module.call = service.serve  # type: ignore[attr-defined]
    sys.modules[bootstrap.module_name()] = module
    try:
        yield GuestFiles(service, root)
    finally:
        del sys.modules[bootstrap.module_name()]
        service._store.close()
