"""Requirement files of this machine, as they are sent to the runtime."""

from __future__ import annotations

import io
import os
import threading
import time
from pathlib import Path

import pytest

from lecoder_cgpu import errors
from lecoder_cgpu.guest import installer
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


def test_the_folder_of_files_is_left_out_of_output() -> None:
    """Wherever the pieces of an installer's output begin and end; all else passes as it is."""
    folder, said = (
        b"/runs/run-1/requirements/",
        b"/runs/x (from -r /runs/run-1/requirements/r.txt (line 1)) /runs/run-1/req",
    )
    for cut in range(len(said) + 1):
        source, sink = os.pipe()
        target = io.BytesIO()
        with os.fdopen(source, "rb") as reader:
            thread = threading.Thread(target=installer.copy, args=(reader, target, folder))
            thread.start()
            os.write(sink, said[:cut])
            time.sleep(0.002)
            os.write(sink, said[cut:])
            os.close(sink)
            thread.join(10)
        assert target.getvalue() == b"/runs/x (from -r r.txt (line 1)) /runs/run-1/req", cut


def test_what_a_requirement_file_may_not_send(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files elsewhere, also behind links, and what has no end; a person may name them."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "repo" / "sub").mkdir(parents=True)
    (tmp_path / "credentials").write_text("key = 1\n")
    (tmp_path / "repo" / "way.txt").symlink_to("../credentials")
    (tmp_path / "repo" / "base.txt").write_text("numpy\r\n")
    path = tmp_path / "repo" / "requirements.txt"
    for folder in (tmp_path, tmp_path / "repo"):
        monkeypatch.chdir(folder)
        for included in ("../credentials", str(tmp_path / "credentials"), "way.txt", "../nothing.txt"):
            path.write_text(f"-r {included}\n")
            with pytest.raises(errors.UsageError, match="lies outside") as raised:
                installs.read_files([str(path)])
            assert raised.value.name == "OutsideFolder"
    (tmp_path / "repo" / "sub" / "dev.txt").write_text("-r ../base.txt\n")
    assert installs.read_files(["sub/dev.txt"])[0]["base.txt"] == "numpy\n"
    path.write_text("-c ../credentials\n")
    assert len(installs.read_files([str(path), "../credentials"])[0]) == 2
    if Path("/dev/zero").exists():
        with pytest.raises(errors.UsageError, match="no end"):
            installs.read_files(["/dev/zero"])
