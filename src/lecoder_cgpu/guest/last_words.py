"""What a kernel had printed and not sent when its process ended: a crash, `os._exit`, too little memory.

Runs on the runtime (Python 3.8 and newer); the text `HOLD` is executed in the user's kernel. ipykernel gathers what
code prints for 200 ms before it sends it, and the text dies with the process (protocol J45). So each piece is also
written to a file that is mapped into memory, which costs about a microsecond, and which the system keeps when the
process is gone. A recorder, or the driver of a notebook, reads it then: how much the run, or the cell, had printed in
all, less what has arrived, is what was lost.

The file has a part for each stream: the run's id, how many bytes it has printed, and the last of them in a ring. The id
of a cell is that of its notebook's run, with its number behind it.
"""

from __future__ import annotations

import contextlib
import struct

NAMES = ("stdout", "stderr")
HEAD = struct.Struct("<32sQ")
RING = 256 << 10  # bytes; more is printed in 200 ms only by what prints without end
PART = HEAD.size + RING

HOLD = f"""
def _lecoder_hold(path):
    import mmap, os, re, struct, sys, threading
    number, ring, part = struct.Struct("<Q"), {RING}, {PART}
    ours = re.compile("run-[0-9a-f]{{16}}(-[0-9]{{1,11}})?$")
    class Held:
        def __init__(self, stream, start):
            self.stream, self.start, self.text = stream, start, start + {HEAD.size}
            self.run, self.before, self.total, self.lock = "", set(), 0, threading.Lock()
            memory[start:self.text] = bytes({HEAD.size})
        def begins(self, run):
            if run in self.before or not ours.match(run):  # a thread of a run that has ended, or not for us
                return False
            self.before.add(run)
            self.run, self.total = run, 0
            memory[self.start:self.text] = run.encode().ljust({HEAD.size - 8}, bytes(1)) + bytes(8)
            return True
        def write(self, text):
            try:
                run = self.stream.parent_header["msg_id"]
                data = text.encode("utf-8", "surrogatepass")
                with self.lock:
                    if run != self.run and not self.begins(run):
                        return
                    place = self.text + self.total % ring
                    if place + len(data) <= self.text + ring:
                        memory[place:place + len(data)] = data
                    else:
                        self.wrap(data)
                    self.total += len(data)
                    number.pack_into(memory, self.text - 8, self.total)
            except Exception:
                pass  # the kernel sends it all the same
        def wrap(self, data):
            tail = data[-ring:]
            place = (self.total + len(data) - len(tail)) % ring
            first = tail[:ring - place]
            memory[self.text + place:self.text + place + len(first)] = first
            memory[self.text:self.text + len(tail) - len(first)] = tail[len(first):]
        def flush(self):
            pass
    streams = [stream for stream in (sys.stdout, sys.stderr) if hasattr(stream, "echo") and stream.echo is None]
    if len(streams) != 2:
        return  # not an ipykernel, or held already
    place = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o600)
    try:
        os.ftruncate(place, 2 * part)
        memory = mmap.mmap(place, 2 * part)
    finally:
        os.close(place)
    def let_go():
        for stream in streams:
            stream.echo = None
    for index, stream in enumerate(streams):
        stream.echo = Held(stream, index * part)
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=let_go)  # the memory is the parent's
try:
    _lecoder_hold({{path!r}})
except Exception:
    pass  # a kernel on another machine, or of another kind
finally:
    del _lecoder_hold
"""


def hold(path: str) -> str:
    """The code that has a kernel write what it prints to a file."""
    return HOLD.replace("{path!r}", repr(path))


def read(path: str) -> bytes:
    """The file of a kernel whose process has ended; empty if there is none. The next process begins it anew."""
    with contextlib.suppress(OSError), open(path, "rb") as file:
        return file.read(len(NAMES) * PART)
    return b""


def lost(held: bytes, run: str, arrived: dict[str, int]) -> dict[str, bytes]:
    """What the run had printed and not sent, by stream; empty when that is not known.

    Args:
        held: the content of the file. arrived: how many bytes of each stream came.
    """
    found = {}
    if len(held) == len(NAMES) * PART:
        for index, name in enumerate(NAMES):
            owner, total = HEAD.unpack_from(held, index * PART)
            ring = held[index * PART + HEAD.size : (index + 1) * PART]
            missing = min(total - arrived[name], RING)
            if owner.rstrip(bytes(1)) == run.encode() and missing > 0:
                end = total % RING
                found[name] = (ring[end:] + ring[:end])[-missing:]
    return found
