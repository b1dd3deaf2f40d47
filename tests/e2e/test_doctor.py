"""The doctor finds what is wrong, says what mends it, and tells no secret."""

from __future__ import annotations

import json
from typing import Any

from lecoder_cgpu.testing.colab import FakeColab
from tests.contract.test_documents import validate
from tests.support.cli import Cli
from tests.support.servers import JupyterServer


def findings(document: Any, check: str) -> list[Any]:
    return [item for item in document["findings"] if item["check"] == check]


def test_all_is_well(lab: Cli, jupyter: JupyterServer) -> None:
    """A session is examined hop by hop, and nothing is wrong."""
    result = lab("doctor", "--json")
    validate(result.json, "doctor")
    assert (result.code, result.json["status"]) == (0, "ok"), result.json
    told = " ".join(item["message"] for item in findings(result.json, f"session {lab.home.name}"))
    assert "over HTTP" in told
    assert "over WebSocket" in told
    assert jupyter.token not in result.out + result.err


def test_what_is_wrong_is_named_with_its_remedy(lab: Cli) -> None:
    """Files that others can read, a missing certificate file, a choice that cannot be used: each with what mends it."""
    config = lab.home / "config" / "config.json"
    config.write_text(json.dumps({"jupyterToken": "hunter2hunter2", "jupyterUrl": "http://me:pass@127.0.0.1:1/lab"}))
    config.chmod(0o644)
    try:
        result = lab(
            "doctor", "--json", env={"SSL_CERT_DIR": "/surely/not/there", "HTTPS_PROXY": "http://u:pw@proxy:1"}
        )
        human = lab("doctor")
    finally:
        config.unlink()
    document = result.json
    validate(document, "doctor")
    assert (result.code, document["errorCode"], document["error"]["name"]) == (78, 2009, "ProblemsFound")
    assert f"chmod 600 {config}" in [item.get("fix") for item in findings(document, "state")]
    assert "unset SSL_CERT_DIR" in [item.get("fix") for item in findings(document, "tls")]
    assert "HTTPS_PROXY = http://proxy:1" in [item["message"] for item in findings(document, "proxy")]
    for secret in ("hunter2", "pass@", "pw@"):
        assert secret not in result.out + human.out
    assert human.code == 78
    assert f"chmod 600 {config}" in human.out


def test_a_server_that_is_gone(cli: Cli, jupyter: JupyterServer) -> None:
    """The session that cannot be reached is a problem, and the others are examined all the same."""
    cli("sessions", "add", "good", "--url", jupyter.url, "--token-stdin", stdin=jupyter.token.encode())
    cli("sessions", "add", "bad", "--url", jupyter.url, "--token-stdin", stdin=jupyter.token.encode())
    path = cli.state / "sessions.json"
    stored = json.loads(path.read_text())
    for record in stored:
        if record["name"] == "bad":
            record["runtime"]["proxy"]["url"] = "http://127.0.0.1:1/"
    path.write_text(json.dumps(stored))
    document = cli("doctor", "--json").json
    assert [item["level"] for item in findings(document, "session bad")] == ["problem"]
    assert {item["level"] for item in findings(document, "session good")} == {"ok"}
    cli("sessions", "close", "good")


def test_the_login(colab: FakeColab, colab_cli: Cli) -> None:
    """Logged in: whose login, that Google takes it, that its services answer. Logged out: how to log in."""
    document = colab_cli("doctor", "--json").json
    assert document["status"] == "ok", document
    assert len(findings(document, "network")) == 3
    assert findings(document, "keeper") == [{"check": "keeper", "level": "ok", "message": "it is not needed now"}]
    assert any("logged in as" in item["message"] for item in findings(document, "login"))
    assert colab_cli("run", "--cpu", "true").code == 0
    (warned,) = findings(colab_cli("doctor", "--json").json, "keeper")
    assert warned["level"] == "warning"  # tests run without one
    colab_cli("sessions", "close", "--all")
    colab_cli("auth", "logout")
    after = colab_cli("doctor", "--json").json
    assert findings(after, "login") == [
        {"check": "login", "level": "problem", "message": "not logged in to Google", "fix": "lecoder-cgpu auth login"}
    ]
