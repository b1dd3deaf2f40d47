"""What the doctor finds, in a folder of its own and of a real server that says odd things."""

from __future__ import annotations

import http.server
import os
import threading
import time
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path

import pytest

from lecoder_cgpu.config import Config
from lecoder_cgpu.diagnostics import doctor
from lecoder_cgpu.models.reference import Finding
from lecoder_cgpu.sessions.manager import SessionManager


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SessionManager:
    monkeypatch.setenv("LECODER_CGPU_CONFIG_DIR", str(tmp_path))
    for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
    return SessionManager(Config(options={"backend": "local"}))


def of(findings: list[Finding], check: str) -> list[Finding]:
    return [item for item in findings if item.check == check]


def test_nothing_to_complain_about(manager: SessionManager) -> None:
    """A fresh start has no problem, and every finding says something."""
    document = doctor.examine(manager)
    assert document.status == "ok", document
    assert {item.check for item in document.findings} >= {"python", "extras", "config", "state", "keeper", "sessions"}
    assert all(item.message for item in document.findings)


@pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX's")
def test_files_that_others_can_read(manager: SessionManager) -> None:
    manager.state_dir.mkdir(parents=True, exist_ok=True)
    path = manager.state_dir / "token.json"
    path.write_text("{}")
    path.chmod(0o644)
    document = doctor.examine(manager)
    (found,) = [item for item in of(document.findings, "state") if item.level == "problem"]
    assert found.fix == f"chmod 600 {path}"
    assert (document.status, document.exit_code) == ("error", 78)


def test_a_check_that_fails_hides_no_other(manager: SessionManager) -> None:
    """Sessions that cannot be read are a problem of two checks; the others still say what they found."""
    manager.state_dir.mkdir(parents=True, exist_ok=True)
    (manager.state_dir / "sessions.json").write_text("no JSON")
    document = doctor.examine(manager)
    assert any(item.level == "problem" for item in document.findings)
    assert of(document.findings, "python")
    assert of(document.findings, "sessions")
    assert [item for item in doctor.examine(manager).findings if "set aside" in item.message]


def test_proxies_lose_their_credentials(manager: SessionManager, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://ada:secret@proxy.example:3128/?key=secret")
    found = of(doctor.examine(manager).findings, "proxy")
    assert [item.message for item in found] == ["HTTPS_PROXY = http://proxy.example:3128"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://user:pass@host:1/path?token=x#y", "https://host:1/path"),
        ("localhost:8080", "localhost:8080"),
        ("", ""),
    ],
)
def test_addresses_without_credentials(text: str, shown: str) -> None:
    assert doctor._without_credentials(text) == shown


def test_no_finding_sends_people_to_the_doctor() -> None:
    """They are there already."""
    assert doctor._finding("network", "problem", "no", "run lecoder-cgpu doctor").fix == doctor.NETWORK
    assert doctor._finding("network", "problem", "no", "sleep").fix == "sleep"


class _Server(http.server.BaseHTTPRequestHandler):
    """Answers with the `Date` that the server has."""

    def do_HEAD(self) -> None:
        self.send_response_only(200)
        date = self.server.date  # type: ignore[attr-defined]
        if date is not None:
            self.send_header("Date", date)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[http.server.ThreadingHTTPServer]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Server) as running:
        threading.Thread(target=running.serve_forever, args=(0.05,), daemon=True).start()
        yield running
        running.shutdown()


@pytest.mark.parametrize(
    ("date", "said"),
    [
        (None, None),
        ("soon", None),
        (0, None),
        ("Mon, 99 Xyz 9999 99:99:99 GMT", None),
        (3600, "behind"),
        (-3600, "ahead of"),
    ],
    ids=["no date", "no such date", "right", "impossible", "behind", "ahead"],
)
def test_the_clock(server: http.server.ThreadingHTTPServer, date: str | int | None, said: str | None) -> None:
    """A clock that is wrong is told of; a date that nobody can read says nothing. A number: seconds from now."""
    if isinstance(date, int):
        date = formatdate(time.time() + date, usegmt=True)
    server.date = date  # type: ignore[attr-defined]
    findings = list(doctor._probe(f"http://127.0.0.1:{server.server_port}"))
    assert (findings[0].check, findings[0].level) == ("network", "ok")
    assert [said in item.message for item in findings[1:] if said] == ([True] if said else [])
    assert len(findings) == (2 if said else 1)


def test_a_server_that_is_not_there() -> None:
    (found,) = doctor._probe("http://127.0.0.1:9")
    assert (found.check, found.level) == ("network", "problem")
    assert found.fix
