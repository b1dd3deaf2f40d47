"""Our own programs that run on the runtime as processes. Their spec is sent over stdin: argument lists are public."""

from __future__ import annotations

from typing import Any

import msgspec

from .. import errors
from ..helper import bootstrap
from ..helper.client import Helper
from ..helper.documents import Hello, RunState
from ..helper.launch import DEFAULT, Launch
from ..sessions.session import Session

CHUNK = 1 << 20  # bytes of the spec that are sent at once
_LOADER = (
    "import json,sys\n"
    "spec=json.loads(sys.stdin.buffer.readline() or sys.exit('its instructions did not arrive'))\n"
    "names={'__name__':'lecoder_program'}\n"
    "exec(compile(spec.pop('program'),'lecoder_program.py','exec'),names)\n"
    "sys.exit(names['main'](spec))"
)


def start(
    session: Session,
    program: str,
    run: str,
    spec: dict[str, Any],
    *,
    kind: str,
    label: str,
    launch: Launch = DEFAULT,
) -> RunState:
    """Start one of `bootstrap.PROGRAMS` in the helper's Python, once: the same run id again finds what was started.

    A dropped connection is retried: both the start and what is sent behind it can be sent twice.

    Args:
        spec: given to its `main`, with `folder` (the run's folder) added. A value that is a function is called with the
            helper's `Hello`, and its result is sent.
        kind, label: shown in lists of runs.
        launch: where it starts, its limits and results; the variables are those of the program.

    Raises:
        errors.UsageError: (`KeyConflict`) the id was used with another digest. errors.Error: it was not started.
    """

    def send(helper: Helper) -> RunState:
        hello = helper.hello()
        state = helper.start(
            run,
            [hello.executable, "-c", _LOADER],
            launch,
            stdin=True,
            kind=kind,
            label=label,
            follow=False,
        )
        if not state.ended:
            _feed(helper, run, _line(spec, program, run, hello))
        return helper.show(run)

    helper, state = session.start_with_helper(send)
    helper.close()
    return state


def _line(spec: dict[str, Any], program: str, run: str, hello: Hello) -> bytes:
    resolved = {name: value(hello) if callable(value) else value for name, value in spec.items()}
    resolved |= {"program": bootstrap.program(program), "folder": f"{hello.home}/runs/{run}"}
    return msgspec.json.encode(resolved) + b"\n"


def _feed(helper: Helper, run: str, line: bytes) -> None:
    for offset in range(0, len(line), CHUNK):
        part = line[offset : offset + CHUNK]
        try:
            helper.send_stdin(run, part, offset=offset, eof=offset + CHUNK >= len(line))
        except errors.NoStdin:
            if helper.read(run, "messages", 0, 1).data:
                return  # another client with the same key has sent it all, to an earlier helper
            raise
