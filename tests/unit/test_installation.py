"""How the tool was installed, and which version is the newer one; a real pip asks a real package index."""

from __future__ import annotations

import http.server
import re
import shlex
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from lecoder_cgpu import __version__, errors
from lecoder_cgpu.diagnostics import installation
from lecoder_cgpu.models.reference import Upgrade


class _Index(http.server.BaseHTTPRequestHandler):
    """A package index with one package, in the versions that the server has."""

    def do_GET(self) -> None:
        versions = self.server.versions  # type: ignore[attr-defined]
        found = self.path.strip("/") == "simple/lecoder-cgpu" and versions
        self.send_response(200 if found else 404)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        links = (f"lecoder_cgpu-{version}-py3-none-any.whl" for version in versions)
        self.wfile.write("".join(f'<a href="/{link}">{link}</a><br>' for link in links).encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The versions that the package index has; empty at first."""
    versions: list[str] = []
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Index) as server:
        server.versions = versions  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{server.server_port}/simple")
        monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
        for name in ("PIP_EXTRA_INDEX_URL", "PIP_NO_INDEX", "PIP_FIND_LINKS"):
            monkeypatch.delenv(name, raising=False)
        yield versions
        server.shutdown()


def test_the_newest_version(index: list[str]) -> None:
    """Versions are compared as such: 0.10 comes after 0.9, however they sort as text."""
    index += ["0.0.9", "0.0.10"]
    found = installation.check()
    assert (found.latest, found.newer, found.version) == ("0.0.10", False, __version__)
    index.append("99.9.0")
    found = installation.check()
    assert (found.latest, found.newer) == ("99.9.0", True)


def test_an_index_without_us(index: list[str]) -> None:
    """That there is none is no failure; that it could not be asked is one."""
    assert not isinstance(installation.check().latest, str)


def test_an_index_that_is_not_there(index: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with monkeypatch.context() as unreached:
        unreached.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{port}/simple")
        unreached.setenv("PIP_RETRIES", "1")
        with pytest.raises(errors.ConnectionFailed, match=r"could not be asked: NewConnectionError.*refused"):
            installation.check()
    monkeypatch.setattr(sys, "executable", str(Path(sys.executable).with_name("no-such-python")))
    with pytest.raises(errors.ConnectionFailed) as raised:
        installation.check()
    assert raised.value.name == "IndexUnreachable"


@pytest.mark.parametrize(
    ("version", "newer"),
    [
        ("0.6.0", False),
        ("0.6.0rc1", False),
        ("0.6.0.post1", True),
        ("0.6.1a1", True),
        ("0.10.0", True),
        ("1!0.1", True),
    ],
)
def test_which_is_newer(version: str, newer: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A candidate comes before its release, a correction behind it, an epoch before all."""
    monkeypatch.setattr(installation, "__version__", "0.6.0")
    assert installation._is_newer(version) is newer


def test_what_is_no_version() -> None:
    with pytest.raises(errors.ConnectionFailed, match="no version"):
        installation._is_newer("newest")


def test_how_it_was_installed() -> None:
    """Every way has a command, and the tests run from the source."""
    how, _ = installation.kind()
    assert how in installation.UPGRADES
    assert set(installation.extras()) == {"local", "mcp", "remote", "repl", "notebooks", "socks", "keyring"}


def _newer(installed: str, program: str, latest: str = __version__) -> Upgrade:
    command = shlex.join([sys.executable, "-c", program])
    return Upgrade(version="1", installed=installed, latest=latest, newer=True, command=command)


def test_installing_a_newer_version() -> None:
    """The installer's own command is run, and its failure is told with its last line."""
    found = _newer("pip", "print('done')")
    installation.install(found)
    assert found.ran is True
    kept = _newer("uv-tool", "print('Nothing to upgrade')", latest="99.0")
    with pytest.raises(errors.RuntimeFailure, match=f"version {re.escape(__version__)} is installed still") as caught:
        installation.install(kept)
    assert (kept.ran is True, caught.value.hint) == (False, "uv tool install lecoder-cgpu@latest")
    broken = _newer("uv-tool", "raise SystemExit('there is no room')")
    with pytest.raises(errors.RuntimeFailure, match="there is no room") as caught:
        installation.install(broken)
    assert (caught.value.name, caught.value.hint) == ("UpgradeFailed", broken.command)
    assert broken.ran is not True


@pytest.mark.parametrize("how", ["source", "unknown"])
def test_what_cannot_be_installed_by_itself(how: str, tmp_path: Path) -> None:
    """Nothing is run for a copy that no installer knows."""
    touched = tmp_path / "touched"
    with pytest.raises(errors.UsageError) as caught:
        installation.install(_newer(how, f"open({str(touched)!r}, 'w')"))
    assert caught.value.name == "NotUpgradable"
    assert not touched.exists()
