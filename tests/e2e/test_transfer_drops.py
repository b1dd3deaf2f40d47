"""Transfers over connections that are cut in the middle, and through servers that have no helper."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lecoder_cgpu import errors
from lecoder_cgpu.config import Config
from lecoder_cgpu.files import server_files, transfer
from lecoder_cgpu.sessions.manager import SessionManager
from tests.support.cli import Cli
from tests.support.faults import Fault
from tests.support.proxy import Proxy
from tests.support.servers import JupyterServer, start_server
from tests.support.storage import files_of

PART = transfer.PART


@pytest.fixture(scope="module")
def cuttable(jupyter: JupyterServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Cli, Proxy]]:
    """The command line with a warm session that reaches a stock server through a proxy."""
    proxy = Proxy(jupyter.url)
    command = Cli(tmp_path_factory.mktemp("transfers"))
    name = command.home.name
    command("sessions", "add", name, "--url", proxy.url, "--token-stdin", stdin=jupyter.token.encode())
    assert command("ls").code == 0
    yield command, proxy
    command("sessions", "close", "--all")
    proxy.close()


@pytest.fixture
def client(cuttable: tuple[Cli, Proxy], monkeypatch: pytest.MonkeyPatch) -> SessionManager:
    """The library on the same session."""
    monkeypatch.setenv("LECODER_CGPU_CONFIG_DIR", str(cuttable[0].home / "config"))
    return SessionManager(Config())


def cutting(proxy: Proxy, every: int) -> tuple[Callable[[int, int], None], list[int]]:
    """Progress that cuts the connection whenever this many more bytes have gone; and what it was told."""
    told: list[int] = []
    cuts = [0]

    def progress(files: int, size: int) -> None:
        told.append(size)
        if sum(told) // every > cuts[0]:
            cuts[0] = sum(told) // every
            proxy.cut()

    return progress, told


def test_up_through_drops(
    client: SessionManager, cuttable: tuple[Cli, Proxy], jupyter: JupyterServer, tmp_path: Path
) -> None:
    """The connection is cut after every second part, with parts on their way: the file arrives whole, and no part is
    counted twice."""
    source = tmp_path / "up"
    source.write_bytes(os.urandom(9 * PART + 17))
    progress, told = cutting(cuttable[1], 2 * PART)
    with files_of(client, progress) as files:
        files.upload([str(source)], "dropped/up")
    assert (jupyter.root / "dropped" / "up").read_bytes() == source.read_bytes()
    assert sum(told) == source.stat().st_size
    assert [path.name for path in (jupyter.root / "dropped").iterdir()] == ["up"]


@pytest.mark.parametrize("name", ["plain", ".hidden"])
def test_down_through_drops(
    client: SessionManager, cuttable: tuple[Cli, Proxy], jupyter: JupyterServer, tmp_path: Path, name: str
) -> None:
    """The same from the runtime: in pieces from the server itself, or from the helper for a file that it hides."""
    content = os.urandom(9 * PART + 17)
    (jupyter.root / name).write_bytes(content)
    _, proxy = cuttable
    proxy.requests.clear()
    progress, told = cutting(proxy, 2 * PART)
    with files_of(client, progress) as files:
        files.download([name], str(tmp_path / "down"))
    assert (tmp_path / "down").read_bytes() == content
    assert sum(told) == len(content)
    assert sum(f"/files/{name} " in line for line in proxy.requests) > 1 if name == "plain" else True
    assert [path.name for path in tmp_path.iterdir()] == ["down"]


def test_many_files_through_drops(
    client: SessionManager, cuttable: tuple[Cli, Proxy], jupyter: JupyterServer, tmp_path: Path
) -> None:
    """Packs are sent again when their answers were lost, and every file is there once and whole."""
    source = tmp_path / "many"
    for number in range(600):
        path = source / str(number % 7) / f"f{number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(number * 37 % 9000))
    progress, _ = cutting(cuttable[1], 600_000)
    with files_of(client, progress) as files:
        assert files.upload([str(source)], "many").files == 600
        down = files.download(["many"], str(tmp_path / "back"))
        assert files.sync(str(source), "many").sent == 0
    assert down.files == 600
    for path in source.rglob("f*"):
        assert (tmp_path / "back" / path.relative_to(source)).read_bytes() == path.read_bytes()


def test_a_killed_upload_is_taken_up(
    client: SessionManager, cuttable: tuple[Cli, Proxy], jupyter: JupyterServer, tmp_path: Path
) -> None:
    """A killed client leaves nothing under the final name; the same command goes on with what had arrived."""
    command, _ = cuttable
    source = tmp_path / "killed"
    source.write_bytes(os.urandom(40 * PART))
    folder = jupyter.root / "taken"
    process = command.start("upload", str(source), "taken/up")
    parts: list[Path] = []
    deadline = time.monotonic() + 60
    while not (parts and parts[0].stat().st_size > 2 * PART) and process.poll() is None:
        assert time.monotonic() < deadline
        parts = list(folder.glob(".*.lecoder-part")) if folder.exists() else []
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (folder / "up").exists()
    (old,) = parts
    wait_until_quiet(old)
    have = old.stat().st_size
    # As if that was long ago: a helper that wrote the part itself waits some seconds before anybody else gets it.
    with client.session() as session:
        helper = session.connect_helper()
        os.kill(helper.hello().pid, 9)
        helper.close()
    os.utime(old, (1, 1))
    result = command("upload", str(source), "taken/up", "--json")
    assert result.code == 0, result
    assert (folder / "up").read_bytes() == source.read_bytes()
    assert have > 2 * PART
    assert not old.exists()
    assert [path.name for path in folder.iterdir()] == ["up"]


def wait_until_quiet(path: Path) -> None:
    """Return when a file has stopped growing."""
    size = -1
    while size != path.stat().st_size:
        size = path.stat().st_size
        time.sleep(0.5)


def test_a_helper_that_dies(client: SessionManager, jupyter: JupyterServer, tmp_path: Path) -> None:
    """The helper's process is killed in the middle: the server starts another, and the transfer goes on."""
    source = tmp_path / "helper"
    source.write_bytes(os.urandom(12 * PART))
    with client.session() as session:
        helper = session.connect_helper()
        pid = helper.hello().pid
        helper.close()
    killed = threading.Event()

    def progress(files: int, size: int) -> None:
        if size and not killed.is_set():
            killed.set()
            os.kill(pid, 9)

    with files_of(client, progress) as files:
        files.upload([str(source)], "after-death")
    assert killed.is_set()
    assert (jupyter.root / "after-death").read_bytes() == source.read_bytes()


def test_a_server_that_stays_away(jupyter: JupyterServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the connection cannot be made again, the error says what to repeat, and nothing has the final name."""
    proxy = Proxy(jupyter.url)
    command = Cli(tmp_path / "home")
    command("sessions", "add", "away", "--url", proxy.url, "--token-stdin", stdin=jupyter.token.encode())
    monkeypatch.setenv("LECODER_CGPU_CONFIG_DIR", str(command.home / "config"))
    source = tmp_path / "away"
    source.write_bytes(os.urandom(8 * PART))

    def progress(files: int, size: int) -> None:
        if size:
            proxy.close()

    with files_of(SessionManager(Config()), progress) as files:
        files.service._channel._patience = 1.0  # type: ignore[attr-defined]
        with pytest.raises(errors.ConnectionFailed) as caught:
            files.upload([str(source)], "away/never")
    assert caught.value.name == "ContactLost"
    assert "repeat" in str(caught.value.hint)
    assert not (jupyter.root / "away" / "never").exists()


@pytest.fixture(scope="module")
def far(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[JupyterServer, Proxy, Cli]]:
    """A server on this machine that looks like another one, behind a proxy. (0.0.0.0 does that on Linux.)"""
    folder = tmp_path_factory.mktemp("far")
    with start_server(folder, "--ServerApp.allow_remote_access=True") as server:
        proxy = Proxy(server.url)
        command = Cli(folder / "home")
        url = proxy.url.replace("127.0.0.1", "0.0.0.0")
        command("sessions", "add", "far", "--url", url, "--token-stdin", stdin=server.token.encode())
        yield server, proxy, command
        proxy.close()


@pytest.mark.skipif(sys.platform != "linux", reason="only there, 0.0.0.0 is this machine and looks like another one")
@pytest.mark.parametrize("every", [None, 5 << 20, server_files.RANGE + 7])
def test_several_pieces_at_once(
    far: tuple[JupyterServer, Proxy, Cli], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, every: int | None
) -> None:
    """From a server that is not on this machine, pieces come side by side and end up in order, also when connections
    are cut among them."""
    server, proxy, command = far
    monkeypatch.setenv("LECODER_CGPU_CONFIG_DIR", str(command.home / "config"))
    content = os.urandom(3 * server_files.RANGE + 5)
    (server.root / "pieces").write_bytes(content)
    told: list[int] = []
    proxy.requests.clear()
    cuts = [] if every is None else [Fault("cut", "down", every)] * (len(content) // every)
    with files_of(SessionManager(Config()), lambda number, size: told.append(size)) as files:
        proxy.expect(cuts)
        files.download(["pieces"], str(tmp_path / "pieces"))
    assert len(proxy.happened) >= len(cuts) // 2
    proxy.expect([])
    assert (tmp_path / "pieces").read_bytes() == content
    assert sum(told) == len(content)
    assert sum("/files/pieces " in line for line in proxy.requests) >= 4


@pytest.mark.skipif(sys.platform != "linux", reason="only there, 0.0.0.0 is this machine and looks like another one")
def test_interrupted_while_the_line_is_silent(far: tuple[JupyterServer, Proxy, Cli], tmp_path: Path) -> None:
    """Ctrl-C does not wait for pieces that do not come."""
    server, proxy, command = far
    (server.root / "silent").write_bytes(os.urandom(6 * server_files.RANGE))
    process = command.start("download", "silent", str(tmp_path / "silent"), "--json")
    deadline = time.monotonic() + 60
    while not any(path.stat().st_size for path in tmp_path.glob(".*")):
        assert time.monotonic() < deadline
        time.sleep(0.001)
    proxy.stall()
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=20)
    assert process.returncode == 130
    assert json.loads(out)["error"]["name"] == "Interrupted"
    assert not (tmp_path / "silent").exists()


NO_KERNELS = """
from jupyter_server.services.kernels.kernelmanager import AsyncMappingKernelManager

class NoKernels(AsyncMappingKernelManager):
    async def _async_start_kernel(self, **options):
        raise RuntimeError("no kernels here")
    start_kernel = _async_start_kernel
"""


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Cli, Path]]:
    """The command line on a server that starts no kernels: there is only the contents API."""
    folder = tmp_path_factory.mktemp("bare")
    (folder / "root").mkdir()
    (folder / "root" / "nokernels.py").write_text(NO_KERNELS)
    with start_server(folder, "--ServerApp.kernel_manager_class=nokernels.NoKernels") as server:
        command = Cli(folder / "home")
        command("sessions", "add", "bare", "--url", server.url, "--token-stdin", stdin=server.token.encode())
        yield command, server.root


def test_through_the_contents_api(bare: tuple[Cli, Path], tmp_path: Path) -> None:
    """Folders, large files, patterns, sync and rm work without a helper, and the document says so."""
    command, root = bare
    source = tmp_path / "source"
    (source / "sub").mkdir(parents=True)
    (source / "a.txt").write_text("aa")
    (source / "sub" / "big").write_bytes(os.urandom(PART * 2 + 5))
    up = command("upload", str(source), "tree", "--json")
    assert up.code == 0, up
    assert (up.json["files"], up.json["verified"]) == (2, True)
    assert "helper" in up.json["notice"]
    assert (root / "tree" / "sub" / "big").read_bytes() == (source / "sub" / "big").read_bytes()
    down = command("download", "tree", str(tmp_path / "back"), "--json")
    assert down.json["sha256"] == up.json["sha256"]
    assert command.raw("cat", "tree/a.txt")[1] == b"aa"
    assert [line["name"] for line in command("ls", "tree", "--json").json["entries"]] == ["a.txt", "sub"]
    (source / "a.txt").write_text("bb")
    assert command("sync", str(source), "tree", "--json").json["sent"] == 1
    assert (root / "tree" / "a.txt").read_text() == "bb"
    assert command("upload", str(source / "sub" / "big"), "tree/a.txt").code == 0
    assert (root / "tree" / "a.txt").stat().st_size == PART * 2 + 5
    assert command("download", "tree/s*/b*", "--to", str(tmp_path / "got")).code == 0
    assert (tmp_path / "got" / "big").stat().st_size == PART * 2 + 5
    assert command("rm", "-r", "tree").code == 0
    assert not (root / "tree").exists()


def test_the_contents_api_has_limits(bare: tuple[Cli, Path], tmp_path: Path) -> None:
    """What is outside of the server's root, or not there, is refused by name; runs need the helper and say so."""
    command, _ = bare
    (tmp_path / "x").write_text("x")
    for line, name, status in (
        (["upload", str(tmp_path / "x"), "../x"], "UnsafeName", 2),
        (["cat", "nothing"], "FileNotFound", 66),
        (["run", "true"], "ServerError", 74),
    ):
        result = command("--json", *line)
        assert (result.json["error"]["name"], result.code) == (name, status), result
