"""The process of low priority that answers what `aside` passes on: it ends when its input does.

Runs on the runtime (Python 3.8 and newer, standard library only).
"""

from __future__ import annotations

import json
import os
import sys
import time

from .aside import ANSWER, REQUEST
from .files import Files
from .report import processors


def main() -> None:
    """Answer the requests on stdin."""
    files, spent = Files(os.getcwd()), time.process_time()
    coming, going = sys.stdin.buffer, sys.stdout.buffer
    while True:
        head = coming.read(REQUEST.size)
        if len(head) < REQUEST.size:
            return
        answer = files.serve(coming.read(REQUEST.unpack(head)[0]))
        now = time.process_time()
        header = {**json.loads(answer[0]), "spent": now - spent, "processors": processors()}
        spent = now
        encoded = json.dumps(header).encode()
        going.write(ANSWER.pack(len(encoded), len(answer[1]) + 1 if len(answer) > 1 else 0) + encoded)
        if len(answer) > 1:
            going.write(answer[1])
        going.flush()
