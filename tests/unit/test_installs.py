"""Requirement files of this machine, as they are sent to the runtime."""

from __future__ import annotations

from pathlib import Path

import pytest

from lecoder_cgpu import errors
from lecoder_cgpu.runs import installs


def test_included_files_travel_too(tmp_path: Path) -> None:
    """A file that is included, from whatever folder, gets a name that its includer knows; each is sent once."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "main.txt").write_text("numpy\n-r sub/more.txt\n-c sub/limits.txt\n")
    (tmp_path / "sub" / "more.txt").write_text("scipy\n")
    (tmp_path / "sub" / "limits.txt").write_text("numpy<3\n")
    files, asked = installs.read_files([str(tmp_path / "main.txt")])
    assert len(files) == 3
    assert sorted(text for name, text in files.items() if name not in asked) == ["numpy<3\n", "scipy\n"]
    main = files[asked[0]]
    for name in files:
        assert "/" not in name
        assert name in asked or name in main


@pytest.mark.parametrize(("content", "kind"), [(None, errors.NotFoundError), (b"\xff\xfe\xff", errors.UsageError)])
def test_files_that_cannot_be_read(tmp_path: Path, content: bytes | None, kind: type[errors.Error]) -> None:
    """They are refused here, before a runtime is asked for."""
    path = tmp_path / "requirements.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(kind, match=r"requirements\.txt"):
        installs.read_files([str(path)])
