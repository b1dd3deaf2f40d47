"""Following a run: both streams in the order in which it wrote to them, whatever of it comes first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from lecoder_cgpu.guest import output_order
from lecoder_cgpu.guest.runs import Run
from lecoder_cgpu.helper import follow
from lecoder_cgpu.helper.documents import Chunk, RunState, Update
from lecoder_cgpu.helper.follow import Follower

PIECES = st.lists(st.tuples(st.sampled_from(["stdout", "stderr"]), st.binary(min_size=1, max_size=5)), max_size=20)


class Runtime:
    """A run on the disk as a helper reads it; pushes are lost, or cut, as the test says."""

    restarts = 0

    def __init__(self, folder: Path, room: int) -> None:
        self.run = Run("run-1", str(folder))
        self.room = room
        self.state = "running"

    def update(self, have: tuple[int, int, int]) -> Update:
        chunks = {
            name: self.run.chunk(name, offset, self.room)
            for name, offset in zip(("stdout", "stderr", "order"), have, strict=True)
            if name != "order" or Path(self.run.path("order")).exists()
        }
        state: dict[str, Any] = {"run": "run-1", "state": self.state}
        return msgspec.convert({"run": "run-1", "state": state, **chunks}, Update)

    def watch(self, run: str, take: object) -> bool:
        return False

    def unwatch(self, run: str) -> None:
        pass

    def poll(self, run: str, *have: int) -> Update:
        return self.update((have[0], have[1], have[2]))

    def receive(self, seconds: float) -> None:
        pass

    def read(self, run: str, stream: str, offset: int, limit: int) -> Chunk:
        data = self.run.read(stream, offset, min(limit, self.room + 1))
        return Chunk(offset=offset, size=self.run.size(stream), data=data)


def write(folder: Path, pieces: list[tuple[str, bytes]], *, noted: int | None = None) -> None:
    for number, (name, data) in enumerate(pieces):
        with (folder / name).open("ab") as file:
            file.write(data)
        if noted is None or number < noted:
            with (folder / "order").open("ab") as file:
                file.write(output_order.entry(name, len(data)))


def joined(pieces: list[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
    """Neighbours of one stream as one."""
    result: list[tuple[str, bytes]] = []
    for name, data in pieces:
        if result and result[-1][0] == name:
            result[-1] = (name, result[-1][1] + data)
        elif data:
            result.append((name, data))
    return result


def followed(runtime: Runtime, offsets: tuple[int, int] = (0, 0)) -> tuple[list[tuple[str, bytes]], RunState | None]:
    got: list[tuple[str, bytes]] = []
    follower = Follower(
        "run-1", lambda name, data: got.append((name, data)), stdout_offset=offsets[0], stderr_offset=offsets[1]
    )
    state = follower.follow(runtime)  # type: ignore[arg-type]
    return joined(got), state


@given(pieces=PIECES, room=st.integers(0, 30))
def test_in_the_order_of_writing(tmp_path_factory: Any, pieces: list[tuple[str, bytes]], room: int) -> None:
    """However little fits into an update, and for a run that has ended as for one from an offset on."""
    folder = tmp_path_factory.mktemp("run")
    write(folder, pieces)
    runtime = Runtime(folder, room)
    runtime.state = "unknown"
    got, _ = followed(runtime)
    assert got == joined(pieces)
    out = b"".join(data for name, data in pieces if name == "stdout")
    got, _ = followed(runtime, (len(out) // 2, 0))
    assert b"".join(data for name, data in got if name == "stdout") == out[len(out) // 2 :]


@given(pieces=PIECES, noted=st.integers(0, 20))
def test_what_has_no_place_is_not_lost(tmp_path_factory: Any, pieces: list[tuple[str, bytes]], noted: int) -> None:
    """An order that ends early (a full disk), or none at all (an earlier version), costs no output."""
    folder = tmp_path_factory.mktemp("run")
    write(folder, pieces, noted=noted)
    runtime = Runtime(folder, 100)
    runtime.state = "unknown"
    got, _ = followed(runtime)
    for stream in ("stdout", "stderr"):
        assert b"".join(data for name, data in got if name == stream) == b"".join(
            data for name, data in pieces if name == stream
        )
    assert got[: max(len(joined(pieces[:noted])) - 1, 0)] == joined(pieces[:noted])[:-1]


def test_output_waits_for_its_place_only_a_moment(tmp_path: Path, monkeypatch: Any) -> None:
    """While a run goes on, output that no note tells of is shown after a short time."""
    monkeypatch.setattr(follow, "ORDER_PATIENCE", 0.05)
    write(tmp_path, [("stdout", b"a"), ("stderr", b"b"), ("stdout", b"c")], noted=1)
    got: list[tuple[str, bytes]] = []
    follower = Follower("run-1", lambda name, data: got.append((name, data)))
    import time

    assert follower.follow(Runtime(tmp_path, 100), time.monotonic() + 0.5) is None  # type: ignore[arg-type]
    assert joined(got) == [("stdout", b"ac"), ("stderr", b"b")]
