"""The store of sessions: finding, changing, and surviving damage."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lecoder_cgpu import errors
from lecoder_cgpu.store import opening
from lecoder_cgpu.store.session_store import Allocation, KernelRecord, Owner, Proxy, Store, new_record


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "state")


def test_records_survive_with_private_permissions(store: Store) -> None:
    """What is stored is read back; the file and its folder are for their owner only."""
    record = new_record("lab", "jupyter", "Jupyter lab", "http://lab/", Proxy(url="http://lab/", token="s3cret"))
    store.add(record)
    assert Store(store.folder).records() == [record]
    if os.name == "posix":
        assert stat.S_IMODE(store.path.stat().st_mode) == 0o600
        assert stat.S_IMODE(store.folder.stat().st_mode) == 0o700
    assert "s3cret" not in repr(record)


def test_the_newest_session_is_active_and_alone_so(store: Store) -> None:
    """Adding activates, removing the active one promotes the one used last."""
    for name in ("one", "two", "three"):
        store.add(new_record(name, "jupyter", name, "http://x/"))
    assert [record.name for record in store.records() if record.is_active] == ["three"]
    store.activate(store.find("one").id)
    assert store.active() == store.find("one")
    store.remove(store.find("one").id)
    active = store.active()
    assert active is not None
    assert active.name in ("two", "three")


def test_a_closing_session_does_not_become_the_active_one(store: Store) -> None:
    """Nor one that a command has for itself; one whose runtime is gone only when there is no other."""
    for name in ("old", "gone", "own", "closing", "now"):
        record = new_record(name, "colab", name, "http://x/")
        record.allocation = Allocation(key="k", state={"gone": "lost", "closing": "closing"}.get(name, "ready"))  # type: ignore[arg-type]
        if name == "own":
            record.owner = Owner(pid=1, identity="x", host="y")
        store.add(record)
    for leave, active in (("now", "old"), ("old", "gone"), ("gone", None)):
        (store.retire if leave == "now" else store.remove)(store.find(leave).id)
        if leave == "now":
            store.remove(store.find(leave).id)
        found = store.active()
        assert (None if found is None else found.name) == active


def test_names_and_prefixes(store: Store) -> None:
    """A session is found by id, name or a unique prefix; an ambiguous one is refused with the candidates."""
    for name in ("train", "train-2", "eval"):
        store.add(new_record(name, "jupyter", name, "http://x/"))
    assert store.find("train").name == "train"
    assert store.find("ev").name == "eval"
    assert store.find(store.find("eval").id[:9]).name == "eval"
    with pytest.raises(errors.UsageError, match="train-2"):
        store.find("tra")
    with pytest.raises(errors.NotFoundError, match="eval"):
        store.find("nothing")
    with pytest.raises(errors.NotFoundError):
        store.find("")


@pytest.mark.parametrize("name", ["", "-x", "a b", "../x", "x" * 80, "é"])
def test_bad_names_are_refused(store: Store, name: str) -> None:
    """A name must be usable as a path and as an argument."""
    record = new_record("ok", "jupyter", "x", "http://x/")
    record.name = name
    with pytest.raises(errors.UsageError):
        store.add(record)


def test_one_bad_record_hides_no_other_and_is_kept(store: Store) -> None:
    """A record of an unknown shape is left alone, and written back as it was."""
    store.add(new_record("good", "jupyter", "x", "http://x/"))
    content = json.loads(store.path.read_text())
    bad = {"id": 7, "future": ["shape"]}
    store.path.write_text(json.dumps([bad, *content]))
    assert [record.name for record in store.records()] == ["good"]
    assert len(store.damaged) == 1
    store.add(new_record("more", "jupyter", "x", "http://x/"))
    assert bad in json.loads(store.path.read_text())


@pytest.mark.parametrize("content", ["{not json", '{"a": 1}', "", "\x00\x00"])
def test_a_damaged_file_is_set_aside_and_reported(store: Store, content: str) -> None:
    """A file that is no array is never read as an empty one: the user is told, and nothing of it is lost."""
    store.folder.mkdir(parents=True)
    store.path.write_text(content)
    with pytest.raises(errors.ConfigError, match="damaged"):
        store.records()
    kept = list(store.folder.glob("sessions.json.damaged-*"))
    assert [path.read_text() for path in kept] == [content]
    assert store.records() == []


def test_the_predecessors_records_are_understood(store: Store) -> None:
    """Its file has neither names nor backends, and holds proxy tokens."""
    store.folder.mkdir(parents=True)
    old = {
        "id": "5b0e4c1a-0000-4000-8000-000000000000",
        "label": "Colab GPU T4",
        "runtime": {
            "label": "Colab GPU T4",
            "accelerator": "T4",
            "endpoint": "gpu-t4-s-1a2b3c4d",
            "proxy": {"url": "https://x/", "token": "t", "tokenExpiresInSeconds": 3600},
        },
        "variant": "GPU",
        "createdAt": "2026-01-01T00:00:00.000Z",
        "lastUsedAt": "2026-01-01T00:00:00.000Z",
        "isActive": True,
    }
    store.path.write_text(json.dumps([old]))
    (record,) = store.records()
    assert (record.name, record.backend, record.is_active) == ("5b0e4c1a", "colab", True)


@pytest.mark.slow
def test_twenty_processes_lose_no_record(store: Store) -> None:
    """Writers in other processes wait for each other."""
    code = (
        "import sys; from pathlib import Path; from lecoder_cgpu.store.session_store import Store, new_record\n"
        "Store(Path(sys.argv[1])).add(new_record(sys.argv[2], 'jupyter', 'x', 'http://x/'))"
    )
    writers = [subprocess.Popen([sys.executable, "-c", code, str(store.folder), f"s{number}"]) for number in range(20)]
    assert [writer.wait() for writer in writers] == [0] * 20
    assert {record.name for record in store.records()} == {f"s{number}" for number in range(20)}


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_an_error_of_configuration(store: Store) -> None:
    """The error names the folder and says what to do."""
    store.folder.mkdir(parents=True, mode=0o500)
    with pytest.raises(errors.ConfigError, match="cannot be written"):
        store.add(new_record("x", "jupyter", "x", "http://x/"))


def test_forgetting_spares_what_was_asked_for_meanwhile(store: Store) -> None:
    """Who found a runtime gone forgets its session, unless another command has begun to start another one under it."""
    record = new_record("a", "colab", "Colab", "gone")
    record.allocation = Allocation(state="lost", key="first", asked_at=1.0)
    store.add(record)
    for change in (
        lambda stored: setattr(stored.runtime, "endpoint", "another"),
        lambda stored: setattr(stored.allocation, "key", "second"),
        lambda stored: setattr(stored.allocation, "asked_at", 2.0),
    ):
        known = store.find("a")
        store.change(record.id, change)
        assert not store.forget(known)
    assert store.forget(store.find("a"))
    assert store.records() == []
    assert store.forget(record)  # it is forgotten already


def test_who_waits_to_open_a_kernel_finds_the_one_that_was_opened(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many first commands wait for the one that opens a kernel, however long that takes, as long as something comes of
    it. Each finds it then. Where nothing comes, the wait ends and says so."""
    monkeypatch.setattr(opening, "WAIT", 0.3)
    record = new_record("lab", "jupyter", "Jupyter lab", "http://lab/")
    store.add(record)
    found = []

    def wait() -> None:
        with opening.alone(store, record) as stored:
            found.append(stored)

    def opened(kernel: str) -> None:
        store.change(record.id, lambda stored: setattr(stored, "kernel", KernelRecord(id=kernel, path="", ours=True)))

    with ThreadPoolExecutor(5) as pool:
        with opening.alone(store, record):
            waiting = [pool.submit(wait) for _ in range(5)]
            for kernel in ("one", "two", "three"):  # together much longer than a wait for nothing
                time.sleep(0.2)
                opened(kernel)
        for one in waiting:
            one.result(timeout=10)
    assert [stored is not None and stored.kernel is not None and stored.kernel.id for stored in found] == ["three"] * 5
    with (
        opening.alone(store, record),
        pytest.raises(errors.LockHeld, match="another process"),
        opening.alone(store, record),
    ):
        pass
