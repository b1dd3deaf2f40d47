"""Transfers over the real code of both ends, in one process: what is asked again, checked, and never believed."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lecoder_cgpu import errors
from lecoder_cgpu.files import transfer
from lecoder_cgpu.files.download import Download
from lecoder_cgpu.files.sync import Sync
from lecoder_cgpu.files.upload import Upload
from lecoder_cgpu.guest import files as guest
from lecoder_cgpu.guest.files import Files
from lecoder_cgpu.guest.trees import Entry
from lecoder_cgpu.helper.file_documents import Found, Part
from lecoder_cgpu.models.base import SessionRef
from tests.support.guest_files import GuestFiles, guest_files

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the helper was made for Linux")

SIZE = 3 * transfer.PART + 17


@pytest.fixture
def there(tmp_path: Path) -> Iterator[GuestFiles]:
    """A runtime's files."""
    with guest_files(tmp_path) as found:
        yield found


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A local file of several parts."""
    path = tmp_path / "source"
    path.write_bytes(os.urandom(SIZE))
    return path


def test_a_file_there_and_back(there: GuestFiles, source: Path, tmp_path: Path) -> None:
    """Content, hash and time arrive, and every byte is reported once."""
    told: list[int] = []
    service = there.open()
    up = Upload(service, lambda number, size: told.append(size)).file(str(source), "sub/target")
    assert up.digests[""] == hashlib.sha256(source.read_bytes()).hexdigest()
    assert sum(told) == SIZE
    back = tmp_path / "back"
    down = Download(service).file("sub/target", str(back))
    assert (back.read_bytes(), down.digests) == (source.read_bytes(), up.digests)
    assert back.stat().st_mtime_ns == source.stat().st_mtime_ns
    assert [path.name for path in (there.root / "sub").iterdir()] == ["target"]


class Garbling(Files):
    """Damages the first part that it is sent, and every one if `always`."""

    always = False
    damaged = 0

    def put(self, part: str, offset: int, data: Any) -> Any:
        if self.always or not self.damaged:
            self.damaged += 1
            data = bytes([data[0] ^ 1]) + bytes(data[1:])
        return super().put(part, offset, data)


@pytest.mark.parametrize("always", [False, True])
def test_a_damaged_upload(there: GuestFiles, source: Path, always: bool) -> None:
    """It is sent a second time; when that is damaged, too, nothing is left under any name."""
    there.files = garbling = Garbling(str(there.root))
    garbling.always = always
    upload = Upload(there.open())
    if always:
        with pytest.raises(errors.VerifyFailed):
            upload.file(str(source), "target")
        assert list(there.root.iterdir()) == []
    else:
        upload.file(str(source), "target")
        assert (there.root / "target").read_bytes() == source.read_bytes()
        assert garbling.damaged == 1


@pytest.mark.parametrize("cuts", [[2], [3, 2, 4], [4, 4, 4, 4]])
def test_a_connection_that_is_lost(there: GuestFiles, source: Path, cuts: list[int]) -> None:
    """What had no answer is asked again over the next connection, and nothing is counted twice."""
    told: list[int] = []
    there.cuts = list(cuts)
    service = there.open()
    Upload(service, lambda number, size: told.append(size)).file(str(source), "target")
    assert (there.root / "target").read_bytes() == source.read_bytes()
    assert sum(told) == SIZE
    assert 1 <= service.reconnected <= len(cuts)


def test_an_upload_that_was_interrupted(there: GuestFiles, source: Path) -> None:
    """Ctrl-C leaves what has arrived to the next upload of the same, at once and without asking for it again."""
    told: list[int] = []

    def press(number: int, size: int) -> None:
        told.append(size)
        if len(told) == 3:
            raise KeyboardInterrupt

    service = there.open()
    with pytest.raises(KeyboardInterrupt):
        Upload(service, press).file(str(source), "target")
    (part,) = there.root.iterdir()
    arrived = part.stat().st_size
    assert arrived
    again: list[int] = []
    Upload(there.open(), lambda number, size: again.append(size)).file(str(source), "target")
    assert again[0] == arrived
    assert [path.read_bytes() for path in there.root.iterdir()] == [source.read_bytes()]


ODD = [
    b"no JSON",
    b"[]",
    b'{"path": 1, "real": "/x"}',
    b'{"path": "/x", "real": "/x", "entry": ["x", "file", "many", 0]}',
    b'{"path": "/x", "real": "/x", "entry": ["x"]}',
    b'{"error": "odd"}',
    b"{}",
]


class Odd(Files):
    """Answers every request with the same bytes."""

    answer = b""

    def serve(self, header: Any, data: Any = None) -> list[bytes]:
        return [self.answer]


@pytest.mark.parametrize("answer", ODD)
def test_an_odd_answer(there: GuestFiles, answer: bytes) -> None:
    """An answer that is none of ours is the runtime's fault, and no error of this program."""
    there.files = odd = Odd(str(there.root))
    odd.answer = answer
    with pytest.raises(errors.UnexpectedAnswer):
        there.open().stat("x")


def test_a_refusal_names_its_side(there: GuestFiles) -> None:
    """What the runtime cannot do is told with its name."""
    (there.root / "file").touch()
    with pytest.raises(errors.UsageError, match="on the runtime") as caught:
        there.open().list_folder("file")
    assert caught.value.name == "NotADirectory"


def test_a_listing_in_pages(there: GuestFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages add up; a helper that has forgotten the listing in between is asked for all of it again."""
    monkeypatch.setattr(guest, "PAGE_LINES", 3)
    for number in range(8):
        (there.root / f"file{number}").touch()
    service = there.open()
    names = [item.name for item in service.scan(".")]
    assert names == [f"file{number}" for number in range(8)]
    assert [item.name for item in service.glob("file[1-3]")] == ["file1", "file2", "file3"]

    forgotten: list[str] = []

    class Forgetful(Files):
        def scan(self, path: str, token: str, number: int) -> Any:
            if number == 1 and not forgotten:
                forgotten.append(token)
                self._pages.clear()
            return super().scan(path, token, number)

    there.files = Forgetful(str(there.root))
    assert [item.name for item in there.open().scan(".")] == names
    assert forgotten


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse names that are no UTF-8")
def test_names_that_are_no_text(there: GuestFiles, tmp_path: Path) -> None:
    """They are listed, hashed, copied and deleted as they are."""
    name = os.fsdecode(b"bad\xff")
    (there.root / "d").mkdir()
    (there.root / "d" / name).write_text("x")
    service = there.open()
    assert [item.name for item in service.scan("d")] == [name]
    assert service.digests("d", [name, "missing"]) == {name: hashlib.sha256(b"x").hexdigest()}
    Download(service).tree("d", str(tmp_path / "copy"))
    assert (tmp_path / "copy" / name).read_text() == "x"
    assert service.delete("d", [name, "missing"]) == [name]


def test_pieces_come_in_order(there: GuestFiles) -> None:
    """Parts of a file arrive in the order in which they were asked for; beyond the end there is nothing."""
    (there.root / "file").write_bytes(bytes(range(100)))
    got: list[tuple[int, bytes]] = []
    parts = [Part(offset, 30) for offset in range(0, 150, 30)]
    there.open().read_parts("file", parts, lambda part, content: got.append((part.offset, bytes(content))))
    assert [offset for offset, _ in got] == [0, 30, 60, 90, 120]
    assert b"".join(content for _, content in got) == bytes(range(100))


def test_a_file_that_somebody_else_changed(there: GuestFiles, source: Path) -> None:
    """With an expectation, it is not replaced, and nothing half-written stays."""
    (there.root / "target").write_text("theirs")
    service = there.open()
    entry = service.stat("target").entry
    assert entry is not None
    (there.root / "target").write_text("theirs, changed")
    with pytest.raises(errors.TransferError) as caught:
        Upload(service).file(str(source), "target", expect=Found(entry.size, entry.mtime))
    assert caught.value.name == "FileChanged"
    assert [path.read_text() for path in there.root.iterdir()] == ["theirs, changed"]


def test_a_sync_by_hashes(there: GuestFiles, tmp_path: Path) -> None:
    """With hashes, a file of the same size and time is sent if its content differs; the document counts it all."""
    local = tmp_path / "local"
    local.mkdir()
    for name in ("same", "other"):
        (local / name).write_text("1234")
    service = there.open()
    sync = Sync(service, Upload(service), SessionRef(name="s", id="1", backend="local"))
    first = sync.run(str(local), "copy", checksum=False, delete=False, dry_run=False)
    assert (first.sent, first.unchanged) == (2, 0)
    times = (local / "other").stat()
    (local / "other").write_text("4321")
    os.utime(local / "other", ns=(times.st_atime_ns, times.st_mtime_ns))
    (there.root / "copy" / "extra").touch()
    assert sync.run(str(local), "copy", checksum=False, delete=False, dry_run=True).sent == 0
    again = sync.run(str(local), "copy", checksum=True, delete=True, dry_run=False)
    assert (again.sent, again.unchanged, again.deleted) == (1, 1, 1)
    assert sorted(path.name for path in (there.root / "copy").iterdir()) == ["other", "same"]
    assert (there.root / "copy" / "other").read_text() == "4321"


def test_what_travels_is_in_the_old_order() -> None:
    """A line of a listing is a JSON list: name, kind, size, mtime, mode, target."""
    entry = Entry("n", "link", 0, 5, 0o777, "t")
    assert json.loads(json.dumps(entry)) == ["n", "link", 0, 5, 0o777, "t"]
