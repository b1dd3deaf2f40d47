"""Images beside the history: bounded, found by their hash, and never worth a failure."""

from __future__ import annotations

import base64
import os
from pathlib import Path

import pytest

from lecoder_cgpu import errors
from lecoder_cgpu.history import images
from lecoder_cgpu.history.images import Images, digest, image
from lecoder_cgpu.models.runs import DisplayData


def shown(content: bytes, mime: str = "image/png") -> DisplayData:
    return DisplayData(data={mime: base64.b64encode(content).decode(), "text/plain": "<Figure>"})


def kept(store: Images) -> set[str]:
    return {path.name for path in store.folder.iterdir()} if store.folder.exists() else set()


def test_what_is_kept_is_found_by_its_hash(tmp_path: Path) -> None:
    store = Images(tmp_path)
    store.keep([shown(b"one"), shown(b"two"), shown(b"one")])
    assert kept(store) == {digest(b"one"), digest(b"two")}
    assert store.read(digest(b"one")) == b"one"
    assert store.read(digest(b"three")) is None
    store.clear()
    assert kept(store) == set()
    store.clear()


def test_names_from_a_history_lead_nowhere_else(tmp_path: Path) -> None:
    """A history may have been edited: only a hash is a name, and only that content is an image."""
    store = Images(tmp_path)
    store.keep([shown(b"one")])
    (tmp_path / "secret").write_text("x")
    for name in ("../secret", "", "a" * 63, str(tmp_path / "secret"), digest(b"one").upper()):
        assert store.read(name) is None
    (store.folder / digest(b"one")).write_bytes(b"changed")
    assert store.read(digest(b"one")) is None


def test_what_is_no_image() -> None:
    assert image("text/plain", "x") is None
    assert image("image/unheard-of", "eA==") is None


def test_large_images_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "MAX_IMAGE", 10)
    store = Images(tmp_path)
    store.keep([shown(b"x" * 11), shown(b"x" * 10)])
    assert kept(store) == {digest(b"x" * 10)}


def test_the_oldest_go_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By their last use: what is shown again counts as new."""
    monkeypatch.setattr(images, "PRUNE_EVERY", 1)
    store = Images(tmp_path, max_total=300)
    contents = [bytes([number]) * 100 for number in range(4)]
    for number, content in enumerate(contents[:3]):
        store.keep([shown(content)])
        os.utime(store.folder / digest(content), (number, number))
    store.keep([shown(contents[0])])
    store.keep([shown(contents[3])])
    assert kept(store) == {digest(contents[0]), digest(contents[2]), digest(contents[3])}


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="needs a file where a folder should be, as POSIX says it")
def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    """It costs the images of a run, and not the run; only deleting them must not fail unseen."""
    (tmp_path / "images").write_text("in the way")
    store = Images(tmp_path)
    store.keep([shown(b"one")])
    assert store.read(digest(b"one")) is None
    (tmp_path / "images").unlink()
    (tmp_path / "images" / "folder").mkdir(parents=True)
    with pytest.raises(errors.ConfigError):
        store.clear()
