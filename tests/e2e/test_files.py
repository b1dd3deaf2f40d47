"""Files to a real server and back: whole, with their modes and times, or not at all with an error that says why."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from lecoder_cgpu import errors
from lecoder_cgpu.config import Config
from lecoder_cgpu.files import download, transfer
from lecoder_cgpu.files.plan import SMALL
from lecoder_cgpu.sessions.manager import SessionManager
from tests.support.cli import Cli, Result
from tests.support.servers import JupyterServer
from tests.support.storage import files_of

MTIME = 1_600_000_000_987_654_321


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A local folder with a little of everything."""
    folder = tmp_path / "project"
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "empty").mkdir()
    (folder / "a b\nc.txt").write_text("text")
    (folder / "deep" / "er" / "ü.bin").write_bytes(bytes(range(256)))
    (folder / "run.sh").write_text("#!/bin/sh\n")
    (folder / "run.sh").chmod(0o755)
    (folder / "large").write_bytes(os.urandom(SMALL + 1))
    (folder / "link").symlink_to("run.sh")
    for path in folder.rglob("*"):
        if path.is_file():
            os.utime(path, ns=(MTIME, MTIME))
    return folder


def there(jupyter: JupyterServer, name: str) -> Path:
    """A path on the runtime, which is this machine."""
    return jupyter.root / name


def same(one: Path, other: Path) -> None:
    """Fail unless two folders hold the same, with modes and times of files."""
    listing = [
        {
            path.relative_to(folder).as_posix(): (
                path.is_symlink() and os.readlink(path),
                path.read_bytes() if path.is_file() else None,
                path.stat().st_mode,
                path.is_file() and path.stat().st_mtime_ns,
            )
            for path in folder.rglob("*")
        }
        for folder in (one, other)
    ]
    assert listing[0] == listing[1]


def failed(result: Result, name: str, code: int, status: int) -> None:
    """Fail unless the command failed in just that way."""
    document = json.loads(result.out)
    assert (document["error"]["name"], document["errorCode"], result.code) == (name, code, status), result


def test_a_folder_there_and_back(lab: Cli, jupyter: JupyterServer, here: Path) -> None:
    """Names, contents, modes, times, links and empty folders are the same on the runtime, and again after the way back;
    both summaries give one hash."""
    up = lab("upload", str(here), "tree", "--json").json
    same(here, there(jupyter, "tree"))
    back = here.parent / "back"
    down = lab("download", "tree", str(back), "--json").json
    same(here, back)
    assert (up["files"], up["sha256"], up["verified"]) == (down["files"], down["sha256"], True)
    assert up["files"] == 5
    assert not list(there(jupyter, "tree").rglob("*.lecoder-part"))


@pytest.mark.parametrize("size", [0, 1, SMALL - 1, SMALL, transfer.PART - 1, transfer.PART, transfer.PART + 1])
def test_sizes_around_the_limits(client: SessionManager, jupyter: JupyterServer, tmp_path: Path, size: int) -> None:
    """Every byte of a file of an awkward size, both ways, with the hash that the summary names."""
    source = tmp_path / "source"
    source.write_bytes(os.urandom(size))
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    with files_of(client) as files:
        assert files.upload([str(source)], "sized").sha256 == digest
        assert there(jupyter, "sized").read_bytes() == source.read_bytes()
        assert files.download(["sized"], str(tmp_path / "back")).bytes == size
    assert (tmp_path / "back").read_bytes() == source.read_bytes()


def test_a_large_file_comes_from_the_server_itself(lab: Cli, jupyter: JupyterServer, tmp_path: Path) -> None:
    """A file that the server does not serve (a hidden one) and one that it does arrive alike."""
    content = os.urandom(download.BY_HTTP + 12_345)
    for name in (".hidden", "plain"):
        there(jupyter, name).write_bytes(content)
        assert lab("download", name, str(tmp_path / name)).code == 0
        assert (tmp_path / name).read_bytes() == content


def test_where_things_go(lab: Cli, jupyter: JupyterServer, tmp_path: Path) -> None:
    """A slash, a folder and several sources mean *into*; parents are made; `copy` is `upload`; patterns work."""
    for name in ("m.pth", "n.pth"):
        (tmp_path / name).write_text(name)
    one, two = str(tmp_path / "m.pth"), str(tmp_path / "n.pth")
    assert lab("copy", one, "models/").code == 0
    assert there(jupyter, "models/m.pth").read_text() == "m.pth"
    assert lab("copy", two, "models").code == 0
    assert there(jupyter, "models/n.pth").is_file()
    assert lab("upload", one, "some/where/else.pth").code == 0
    assert there(jupyter, "some/where/else.pth").read_text() == "m.pth"
    assert lab("upload", str(tmp_path / "*.pth"), "globbed").code == 0
    assert sorted(path.name for path in there(jupyter, "globbed").iterdir()) == ["m.pth", "n.pth"]
    assert lab("download", "globbed/*.pth", "--to", str(tmp_path / "got")).code == 0
    assert sorted(path.name for path in (tmp_path / "got").iterdir()) == ["m.pth", "n.pth"]
    assert lab("upload", "--to", "all", one, two).code == 0
    assert sorted(path.name for path in there(jupyter, "all").iterdir()) == ["m.pth", "n.pth"]


def test_stdin_and_stdout(lab: Cli, jupyter: JupyterServer) -> None:
    """`-` on either side; what is printed is the file's bytes and nothing else."""
    content = bytes(range(256)) * 20_000
    assert lab.raw("upload", "-", "piped", stdin=content)[0] == 0
    assert there(jupyter, "piped").read_bytes() == content
    assert lab.raw("download", "piped", "-") == (0, content, b"")
    assert lab.raw("cat", "piped") == (0, content, b"")
    document = lab("cat", "piped", "--json", "--max-output", "0").json
    assert (document["size"], len(document["base64"])) == (len(content), (len(content) + 2) // 3 * 4)
    failed(lab("cat", "piped", "--json"), "TooLarge", 2006, 2)


def test_looking_and_removing(lab: Cli, jupyter: JupyterServer) -> None:
    """`ls` tells kinds and sizes; `rm` takes folders only with -r, and never the folder that everything is in."""
    there(jupyter, "box/in").mkdir(parents=True)
    there(jupyter, "box/file").write_text("12345")
    there(jupyter, "box/way").symlink_to("/")
    lines = {line["name"]: line for line in lab("ls", "box", "--json").json["entries"]}
    assert {name: (line["kind"], line["size"]) for name, line in lines.items()} == {
        "in": ("folder", 0),
        "file": ("file", 5),
        "way": ("link", 0),
    }
    failed(lab("rm", "box", "--json"), "IsADirectory", 2006, 2)
    failed(lab("rm", "-r", ".", "--json"), "Refused", 2006, 2)
    failed(lab("rm", "-r", "/", "--json"), "Refused", 2006, 2)
    failed(lab("rm", "box/file", "box/nothing", "--json"), "FileNotFound", 2005, 66)
    assert there(jupyter, "box/file").exists()
    assert lab("rm", "-f", "box/nothing").code == 0
    assert lab("rm", "-r", "box", "--json").json["entries"] == 4
    assert not there(jupyter, "box").exists()
    assert Path("/").exists()


def test_errors_say_what_was_wrong(lab: Cli, jupyter: JupyterServer, tmp_path: Path) -> None:
    """Missing, a folder, a file in the way: each with its own name, code and exit status, and nothing changed."""
    source = tmp_path / "file"
    source.write_text("x")
    there(jupyter, "folder").mkdir()
    there(jupyter, "plain").write_text("kept")
    failed(lab("upload", str(tmp_path / "no"), "--json"), "FileNotFound", 2005, 66)
    failed(lab("download", "no/thing", "--json"), "FileNotFound", 2005, 66)
    failed(lab("download", "no*", "--json"), "FileNotFound", 2005, 66)
    failed(lab("cat", "folder", "--json"), "IsADirectory", 2006, 2)
    failed(lab("upload", str(source), "plain/below", "--json"), "NotADirectory", 2006, 2)
    failed(lab("upload", str(tmp_path), "plain", "--json"), "NotADirectory", 2006, 2)
    failed(lab("upload", str(source), "x" * 300, "--json"), "NameTooLong", 2006, 2)
    for words in (["upload", str(source), "gs://bucket/x"], ["download", "gs://bucket/x"], ["ls", "gs://bucket"]):
        failed(lab(*words, "--json"), "NotAPath", 2006, 2)
    assert not there(jupyter, "gs:").exists()
    failed(lab("download", "plain", str(tmp_path / "file" / "below"), "--json"), "NotADirectory", 2006, 2)
    failed(lab("sync", str(source), "folder", "--json"), "NotADirectory", 2006, 2)
    failed(lab("sync", str(tmp_path), "plain", "--json"), "NotADirectory", 2006, 2)
    assert there(jupyter, "plain").read_text() == "kept"
    assert source.read_text() == "x"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes with names")
def test_what_is_neither_file_nor_folder(lab: Cli, jupyter: JupyterServer, tmp_path: Path) -> None:
    """A pipe or a device is not read as an empty file, not waited for, and not replaced by a file, on either side."""
    here, remote, source = tmp_path / "pipe", there(jupyter, "pipe"), tmp_path / "source"
    os.mkfifo(here)
    os.mkfifo(remote)
    source.write_text("x")
    there(jupyter, "real").write_text("x")
    failed(lab("upload", str(here), "copied", "--json"), "NotAFile", 2006, 2)
    failed(lab("upload", os.devnull, "copied", "--json"), "NotAFile", 2006, 2)
    failed(lab("upload", str(source), "pipe", "--json"), "NotAFile", 2006, 2)
    failed(lab("download", "real", str(here), "--json"), "NotAFile", 2006, 2)
    failed(lab("cat", "pipe", "--json"), "NotAFile", 2006, 2)
    assert lab("cat", "real").out == "x"  # the helper did not wait for the other end of the pipe
    assert (here.is_fifo(), remote.is_fifo(), there(jupyter, "copied").exists()) == (True, True, False)
    remote.unlink()


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="/proc")
def test_what_has_content_and_no_size(lab: Cli, jupyter: JupyterServer, tmp_path: Path) -> None:
    """A file of /proc says that it is empty; what would arrive is nothing, and called whole. `cat` reads it."""
    failed(lab("upload", "/proc/self/status", "status", "--json"), "NotAFile", 2006, 2)
    failed(lab("download", "/proc/self/status", str(tmp_path / "status"), "--json"), "NotAFile", 2006, 2)
    assert lab("cat", "/proc/self/status").out.startswith("Name:")
    assert not there(jupyter, "status").exists()
    assert list(tmp_path.glob("**/status")) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full")
@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_full_disk_behind_our_output(lab: Cli, jupyter: JupyterServer, stream: str) -> None:
    """Output that cannot be written is an error of that name, and no bug of ours."""
    with open("/dev/full", "wb") as full:
        options: dict[str, Any] = {stream: full}
        process = lab.start("run", "echo out; echo err >&2", **options)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 74, (out, err)
    if err is not None:
        assert b"stdout: No space left on device" in err


def test_a_disk_without_room(lab: Cli, jupyter: JupyterServer, tmp_path: Path) -> None:
    """A file that cannot fit is refused before its first byte, and no half file stays. (It is sparse, and huge.)"""
    source = tmp_path / "huge"
    with source.open("wb") as file:
        file.truncate(1 << 43)
    before = set(jupyter.root.iterdir())
    failed(lab("upload", str(source), "huge", "--json"), "DiskFull", 1006, 74)
    assert set(jupyter.root.iterdir()) == before
    source.rename(there(jupyter, "huge"))
    failed(lab("download", "huge", str(tmp_path / "h"), "--json"), "DiskFull", 1006, 74)
    there(jupyter, "huge").unlink()
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == []


@pytest.mark.skipif(
    hasattr(os, "geteuid") and os.geteuid() == 0 and not Path("/proc/self/comm").exists(), reason="root"
)
def test_what_may_not_be_written(lab: Cli) -> None:
    """A folder where nothing can be made is a matter of permissions (/proc refuses even root)."""
    result = lab("upload", __file__, "/proc/self/new", "--json")
    assert (result.code, result.json["errorCode"]) in ((74, 1006), (66, 2005)), result


def test_sync_sends_what_differs(lab: Cli, jupyter: JupyterServer, here: Path) -> None:
    """Everything, then nothing, then the one change; --dry-run does nothing; --delete spares what is ignored."""
    (here / ".gitignore").write_text("*.log\n")
    (here / "noise.log").write_text("local noise")
    first = lab("sync", str(here), "synced", "--json").json
    assert (first["sent"], first["unchanged"]) == (6, 0)
    assert not there(jupyter, "synced/noise.log").exists()
    again = lab("sync", str(here), "synced", "--json").json
    assert (again["sent"], again["unchanged"], again["changes"]) == (0, 6, [])
    (here / "run.sh").write_text("#!/bin/sh\necho changed\n")
    there(jupyter, "synced/extra").write_text("only there")
    there(jupyter, "synced/theirs.log").write_text("ignored there")
    dry = lab("sync", str(here), "synced", "--delete", "--dry-run", "--json").json
    assert [(change["action"], change["path"]) for change in dry["changes"]] == [
        ("send", "run.sh"),
        ("delete", "extra"),
    ]
    assert there(jupyter, "synced/extra").exists()
    real = lab("sync", str(here), "synced", "--delete", "--json").json
    assert (real["sent"], real["deleted"]) == (1, 1)
    assert "changed" in there(jupyter, "synced/run.sh").read_text()
    assert not there(jupyter, "synced/extra").exists()
    assert there(jupyter, "synced/theirs.log").exists()


def test_sync_where_a_file_became_a_folder(lab: Cli, jupyter: JupyterServer, tmp_path: Path) -> None:
    """And the reverse: --delete takes away what is in the way, and without it that is an error."""
    folder = tmp_path / "kinds"
    (folder / "two").mkdir(parents=True)
    (folder / "two" / "inner").write_text("1")
    (folder / "one").write_text("1")
    lab("sync", str(folder), "kinds")
    (folder / "two" / "inner").unlink()
    (folder / "two").rmdir()
    (folder / "two").write_text("file")
    (folder / "one").unlink()
    (folder / "one").mkdir()
    (folder / "one" / "inner").write_text("2")
    assert lab("sync", str(folder), "kinds", "--json").code == 2
    assert there(jupyter, "kinds/one").read_text() == "1"
    assert lab("sync", str(folder), "kinds", "--delete", "--json").json["deleted"] == 3
    same(folder, there(jupyter, "kinds"))


def test_sync_by_checksum(lab: Cli, jupyter: JupyterServer, tmp_path: Path) -> None:
    """The same size and time with other bytes is seen only with --checksum; other times with the same bytes is nothing
    then."""
    folder = tmp_path / "sums"
    folder.mkdir()
    (folder / "f").write_text("one")
    lab("sync", str(folder), "sums")
    stamp = there(jupyter, "sums/f").stat().st_mtime_ns
    there(jupyter, "sums/f").write_text("two")
    os.utime(there(jupyter, "sums/f"), ns=(stamp, stamp))
    assert lab("sync", str(folder), "sums", "--json").json["sent"] == 0
    assert lab("sync", str(folder), "sums", "--checksum", "--json").json["sent"] == 1
    assert there(jupyter, "sums/f").read_text() == "one"
    os.utime(folder / "f", ns=(1, 1))
    assert lab("sync", str(folder), "sums", "--checksum", "--json").json["sent"] == 0


def test_an_empty_folder_deletes_nothing(lab: Cli, jupyter: JupyterServer, tmp_path: Path) -> None:
    """A mistaken folder must not take everything along."""
    there(jupyter, "precious").mkdir()
    there(jupyter, "precious/x").write_text("x")
    failed(lab("sync", str(tmp_path), "precious", "--delete", "--json"), "Refused", 2006, 2)
    assert there(jupyter, "precious/x").exists()


def test_watching(lab: Cli, jupyter: JupyterServer, tmp_path: Path) -> None:
    """A change arrives by itself, and Ctrl-C is the normal end with one document."""
    folder = tmp_path / "watched"
    folder.mkdir()
    (folder / "one").write_text("1")
    process = lab.start("sync", str(folder), "watched", "--watch", "--json")
    try:
        wait_for(lambda: there(jupyter, "watched/one").exists())
        (folder / "two").write_text("2")
        wait_for(lambda: there(jupyter, "watched/two").exists())
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    document = json.loads(out)
    assert (process.returncode, document["sent"], document["rounds"]) == (0, 2, 2)


def wait_for(condition: object, seconds: float = 60) -> None:
    """Return when the condition holds."""
    assert callable(condition)
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_run_in_what_was_synced(lab: Cli, jupyter: JupyterServer, tmp_path: Path) -> None:
    """`run --sync DIR --pull FILE`: the program runs in the folder as it is here, and its results come back."""
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "train.py").write_text("open('out.txt', 'w').write('result'); print('trained'); raise SystemExit(3)")
    (folder / "out").symlink_to("/")
    target = tmp_path / "got.txt"
    result = lab(
        "run", "--json", "--sync", str(folder), "--pull", f"out.txt:{target}", "--pull", "no", "python", "train.py"
    )
    assert (result.code, result.json["stdout"], result.json["synced"]["sent"]) == (3, "trained\n", 1)
    assert "skipped: out: a link that leads out of the folder" in result.err
    assert target.read_text() == "result"
    assert [item.get("error", {}).get("name") for item in result.json["pulled"]] == [None, "FileNotFound"]
    # Nothing that was asked for may be missing from a success.
    failed(lab("run", "--json", "--pull", "no/such", "true"), "PullFailed", 1006, 74)


def test_a_job_declares_its_results(lab: Cli, tmp_path: Path) -> None:
    """What `run --detach --pull` names, `job wait` fetches, and more when asked to."""
    target, more = tmp_path / "declared", tmp_path / "more"
    command = "mkdir -p jobbed; echo 1 > jobbed/a; echo 2 > jobbed/b"
    job = lab("run", "--detach", "--json", "--pull", f"jobbed/a:{target}", command).json["jobId"]
    waited = lab("job", "wait", job, "--pull", f"jobbed/b:{more}", "--json")
    assert (waited.code, target.read_text(), more.read_text()) == (0, "1\n", "2\n"), waited
    assert [item["path"] for item in waited.json["pulled"]] == ["jobbed/a", "jobbed/b"]


def test_editing(lab: Cli, jupyter: JupyterServer, tmp_path: Path) -> None:
    """Saved when changed; not when the editor fails, nothing changed, or somebody else was faster; never unread."""
    file = there(jupyter, "edited.txt")
    file.write_text("one\n")
    file.chmod(0o700)
    assert lab("edit", "edited.txt", "--json", env={"EDITOR": "sed -i s/one/two/"}).json["saved"] is True
    assert (file.read_text(), file.stat().st_mode & 0o777) == ("two\n", 0o700)
    assert lab("edit", "edited.txt", "--json", env={"EDITOR": "true"}).json["saved"] is False
    failed(lab("edit", "edited.txt", "--json", env={"EDITOR": "false"}), "EditorFailed", 2006, 2)
    failed(lab("edit", "edited.txt", "--json", env={"EDITOR": "surely-no-editor"}), "NoEditor", 2006, 2)
    failed(lab("edit", "not-there.txt", "--json", env={"EDITOR": "touch"}), "FileNotFound", 2005, 66)
    assert not there(jupyter, "not-there.txt").exists()
    script = tmp_path / "editor.sh"
    script.write_text(f"#!/bin/sh\necho mine > $1\necho theirs > '{file}'\n")
    script.chmod(0o755)
    result = lab("edit", "edited.txt", "--json", env={"EDITOR": str(script)})
    failed(result, "FileChanged", 1006, 74)
    assert file.read_text() == "theirs\n"
    kept = result.json["error"]["suggestion"].rpartition(" ")[2]
    assert Path(kept).read_text() == "mine\n"


def test_an_editor_that_leaves_nothing(lab: Cli, jupyter: JupyterServer, tmp_path: Path) -> None:
    """Where nothing was written, no copy is left behind and none is promised."""
    there(jupyter, "untouched.txt").write_text("one\n")
    for editor in ("false", "surely-no-editor", "rm"):
        result = lab("edit", "untouched.txt", "--json", env={"EDITOR": editor, "TMPDIR": str(tmp_path)})
        assert result.code != 0, result
        assert "what you wrote" not in result.json["error"].get("suggestion", ""), result
        assert list(tmp_path.glob("lecoder-cgpu-edit-*")) == []
    assert there(jupyter, "untouched.txt").read_text() == "one\n"


@pytest.fixture
def client(lab: Cli, monkeypatch: pytest.MonkeyPatch) -> SessionManager:
    """The library on the command line's session."""
    monkeypatch.setenv("LECODER_CGPU_CONFIG_DIR", str(lab.home / "config"))
    return SessionManager(Config())


def test_two_uploads_to_one_target(client: SessionManager, jupyter: JupyterServer, tmp_path: Path) -> None:
    """Whoever is last wins, and the file is that of one of them, whole."""
    contents = [bytes([number]) * (9 * SMALL + number) for number in range(2)]
    problems: list[BaseException] = []

    def upload(number: int) -> None:
        source = tmp_path / f"source{number}"
        source.write_bytes(contents[number])
        try:
            with files_of(client) as files:
                for _ in range(3):
                    files.upload([str(source)], "contested")
        except BaseException as error:
            problems.append(error)

    threads = [threading.Thread(target=upload, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        target = there(jupyter, "contested")
        if target.exists():
            assert target.stat().st_size in [len(content) for content in contents]
        time.sleep(0.01)
    assert problems == []
    assert there(jupyter, "contested").read_bytes() in contents
    assert not list(jupyter.root.glob("*.lecoder-part"))


def test_a_file_that_changes_while_it_is_read(client: SessionManager, jupyter: JupyterServer, tmp_path: Path) -> None:
    """It is not saved half old and half new: the error says so, and the target is untouched."""
    source = tmp_path / "growing"
    source.write_bytes(b"x" * (6 * transfer.PART))
    there(jupyter, "grown").write_text("before")

    def progress(number: int, size: int) -> None:
        if size:
            source.write_bytes(b"y" * (6 * transfer.PART))

    with files_of(client, progress) as files, pytest.raises(errors.TransferError) as caught:
        files.upload([str(source)], "grown")
    assert caught.value.name == "FileChanged"
    assert there(jupyter, "grown").read_text() == "before"
    assert not list(jupyter.root.glob(".*lecoder-part"))


def test_a_reader_that_leaves(lab: Cli, jupyter: JupyterServer) -> None:
    """`cat | head` ends quietly, as cat does."""
    there(jupyter, "long").write_bytes(b"line\n" * 2_000_000)
    with lab.start("cat", "long") as process:
        assert process.stdout is not None
        assert process.stdout.read(5) == b"line\n"
        process.stdout.close()
        assert process.wait(60) == 141
        assert process.stderr is not None
        assert b"Traceback" not in process.stderr.read()


def test_progress_is_for_terminals(lab: Cli, tmp_path: Path) -> None:
    """In a pipe, an upload prints its summary and not one control character."""
    (tmp_path / "f").write_bytes(b"x" * SMALL)
    result = lab("upload", str(tmp_path / "f"), "quiet")
    assert result.err == ""
    assert "\r" not in result.out
    assert "\x1b" not in result.out
