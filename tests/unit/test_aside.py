"""Requests about files that must not slow the work: another process of low priority serves them, with pauses."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lecoder_cgpu import errors
from lecoder_cgpu.files.download import Download
from lecoder_cgpu.guest import aside
from lecoder_cgpu.guest.files import Files
from lecoder_cgpu.helper import gentle_channel
from lecoder_cgpu.helper.file_service import FileService
from lecoder_cgpu.helper.gentle_channel import Pace
from tests.support.guest_files import GuestFiles, guest_files
from tests.support.wait import wait_until

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the helper was made for Linux")


@pytest.fixture
def there(tmp_path: Path) -> Iterator[GuestFiles]:
    """A runtime's files, with a file that needs more than one message, and a small one."""
    with guest_files(tmp_path) as found:
        (found.root / "large").write_bytes(os.urandom(9 << 20))
        (found.root / "small").write_text("x")
        yield found
        if found.aside._process is not None:
            found.aside._process.kill()


def first(service: FileService) -> bytes:
    """The content of a file with one byte."""
    return bytes(service.read("small", 0, 1))


def gentle(there: GuestFiles, pauses: list[float]) -> FileService:
    service = FileService(there.connect, pace=Pace(0.5, pauses.append))
    service.open()
    return service


def test_the_same_answers_from_another_process(there: GuestFiles, tmp_path: Path) -> None:
    """Listings, contents, hashes and failures are those of the helper. Nobody waits, and pauses have a limit."""
    pauses: list[float] = []
    service, plain = gentle(there, pauses), there.open()
    assert service.scan(".") == plain.scan(".")
    (entry,) = (item for item in service.scan(".") if item.name == "large")
    copied = Download(service).beginning("large", str(tmp_path / "copy"), entry)
    assert copied == plain.start_hash("large", entry.size)()
    assert (tmp_path / "copy").read_bytes() == (there.root / "large").read_bytes()
    with pytest.raises(errors.NotFoundError):
        service.read("none", 0, 1)
    process = there.aside._process
    assert process is not None
    assert os.getpriority(os.PRIO_PROCESS, process.pid) == min(os.getpriority(os.PRIO_PROCESS, 0) + 10, 19)
    assert 0 < sum(pauses) <= 0.5


def test_a_process_that_is_killed(there: GuestFiles) -> None:
    """The helper itself answers what was asked, and another process what is asked next."""
    pauses: list[float] = []
    assert first(gentle(there, pauses)) == b"x"
    killed = there.aside._process
    assert killed is not None
    killed.kill()
    killed.wait()
    assert first(gentle(there, pauses)) == b"x"
    assert first(gentle(there, pauses)) == b"x"
    assert there.aside._process not in (None, killed)


def test_one_that_does_not_get_to_answering(there: GuestFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine may be so busy that low priority means never: the helper is asked then, which is not kept waiting."""
    pauses: list[float] = []
    service = gentle(there, pauses)
    assert first(service) == b"x"
    process = there.aside._process
    assert process is not None
    process.send_signal(signal.SIGSTOP)
    monkeypatch.setattr(gentle_channel, "PATIENCE", 0.1)
    assert first(service) == b"x"
    process.send_signal(signal.SIGCONT)


def test_one_that_cannot_be_started(there: GuestFiles) -> None:
    there.files = Files(str(there.root), aside.Aside([sys.executable + "-none"], str(there.root)))
    assert first(gentle(there, [])) == b"x"
    there.files = Files(str(there.root))
    assert first(gentle(there, [])) == b"x"


def test_one_that_is_not_needed_any_more(there: GuestFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends, and is there again for the next request."""
    monkeypatch.setattr(aside, "IDLE", 0.05)
    for _ in range(2):
        assert first(gentle(there, [])) == b"x"
        wait_until(lambda: there.aside._process is None)


@pytest.mark.parametrize(("processors", "expected"), [(1, 0.97 / 0.03), (2, 0.94 / 0.06), (64, 0.0)])
def test_pauses(processors: int, expected: float) -> None:
    """A fetch uses 3 % of the processors there."""
    pauses: list[float] = []
    Pace(100.0, pauses.append).after(1.0, 0, processors)
    assert sum(pauses) == pytest.approx(expected)
