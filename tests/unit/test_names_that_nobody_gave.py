"""Files that we name ourselves, after what others have named: they land beside it, and never through a link."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lecoder_cgpu import errors
from lecoder_cgpu.api.notebooks import output_of
from lecoder_cgpu.cli import notebooks, written
from lecoder_cgpu.notebooks import document


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("exp/8.ipynb", "exp_8.ipynb"),
        ('a\\b:c*?"<>|', "a_b_c______.ipynb"),
        ("../../.bashrc", "_.._.bashrc.ipynb"),
        ("\x1b]52;c\x07\n\u202e\x9b\u2028x", "_x1b]52;c_x07_x0a_u202e_x9b_u2028x.ipynb"),
        ("CON", "_CON.ipynb"),
        ("nul.ipynb", "_nul.ipynb"),
        (" . ", "notebook.ipynb"),
        (".ipynb", "notebook.ipynb"),
        ("\ud800", "_ud800.ipynb"),
        ("é" * 300, "é" * 100 + ".ipynb"),
    ],
)
def test_a_name_from_outside_as_a_file(name: str, file: str, tmp_path: Path) -> None:
    assert notebooks.file_name(name) == file
    document.write([b"{}"], tmp_path / file)
    assert [item.name for item in tmp_path.iterdir()] == [file]


def test_a_link_that_waits_is_not_followed(tmp_path: Path) -> None:
    """A repository may bring one under the name that we would choose. A name that a person gives is another matter."""
    outside = tmp_path / "outside"
    folder = tmp_path / "repository"
    folder.mkdir()
    source = folder / "n.ipynb"
    (folder / "n.executed.ipynb").symlink_to(outside)
    with pytest.raises(errors.UsageError, match="is a link"):
        output_of(source, None)
    with pytest.raises(errors.UsageError, match="is a link"):
        notebooks.target(notebooks.Source(None, "n.ipynb", source), None, in_place=False)
    assert output_of(source, folder / "n.executed.ipynb").name == "n.executed.ipynb"
    (folder / ".r.html.part").symlink_to(outside)
    written.write(str(folder / "r.html"), b"<html>", "--html")
    assert (folder / "r.html").read_bytes() == b"<html>"
    assert not outside.exists()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes with names")
def test_nothing_takes_the_place_of_a_device(tmp_path: Path) -> None:
    """For root, that would work, and the device would be gone for everybody."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    (tmp_path / "way").symlink_to(pipe)
    for path in (pipe, tmp_path / "way"):
        with pytest.raises(errors.UsageError, match="cannot be written"):
            written.write(str(path), b"x", "--html")
        with pytest.raises(errors.ConfigError, match="cannot be written"):
            document.write([b"{}"], path)
    with pytest.raises(errors.UsageError, match="no file"):
        output_of(tmp_path / "n.ipynb", pipe)
    with pytest.raises(errors.UsageError, match="a device or a pipe"):
        notebooks.writable(pipe)
    assert pipe.is_fifo()
    assert sorted(item.name for item in tmp_path.iterdir()) == ["pipe", "way"]
