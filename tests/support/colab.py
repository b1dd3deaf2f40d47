"""The fake Colab for tests, and command lines that are logged in to it."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from lecoder_cgpu.testing.colab import CLIENT, FakeColab
from lecoder_cgpu.testing.state import SCOPES, Account

from .cli import Cli

KEYS = {
    "accounts": "accountsDomain", "oauth": "oauthDomain", "apis": "googleApisDomain", "tunnel": "colabApiDomain",
    "pa": "colabGapiDomain", "public": "colabPublicApiDomain",
}  # fmt: skip


@pytest.fixture
def colab(tmp_path: Path) -> Iterator[FakeColab]:
    """A fake Colab of the test's own, with one free account."""
    with FakeColab(tmp_path / "colab") as fake:
        yield fake


@pytest.fixture
def colab_cli(colab: FakeColab, tmp_path: Path) -> Cli:
    """A command line that is logged in to the fake."""
    return logged_in(Cli(tmp_path / "home"), colab)


def points_at(cli: Cli, colab: FakeColab) -> Cli:
    """The command line with `config.json` as a user has it, but for where Google is. Nobody is logged in."""
    client, secret = CLIENT
    content = {"clientId": client, "clientSecret": secret}
    content |= {KEYS[role]: url for role, url in colab.urls.items()}
    folder = cli.home / "config"
    folder.mkdir(parents=True, exist_ok=True)
    _secret_file(folder / "config.json", json.dumps(content, indent=2) + "\n")
    return cli


def logged_in(cli: Cli, colab: FakeColab, scopes: tuple[str, ...] = SCOPES, account: Account | None = None) -> Cli:
    """The same with `state/session.json`, both in the predecessor's format."""
    points_at(cli, colab)
    account = account or colab.account
    session = {
        "id": str(uuid.uuid4()),
        "refreshToken": colab.login(scopes, account),
        "scopes": [scope for scope in scopes if scope != "openid"],
        "account": {"id": account.email, "label": account.name},
    }
    cli.state.mkdir(parents=True, exist_ok=True)
    _secret_file(cli.state / "session.json", json.dumps(session, indent=2))
    return cli


def _secret_file(path: Path, content: str) -> None:
    path.touch(mode=0o600)
    path.write_text(content, encoding="utf-8")
