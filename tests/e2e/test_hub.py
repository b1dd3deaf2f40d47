"""A real JupyterHub with its proxy: servers are started, found again, lost and stopped, and nobody else's touched."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.support.cli import Cli
from tests.support.other_servers import Hub, documented, python, start, start_hub
from tests.support.servers import JupyterServer, end, free_port, wait_for_api
from tests.support.wait import wait_until

pytestmark = pytest.mark.timeout(400)


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    with start_hub(tmp_path_factory.mktemp("hub")) as started:
        yield started


def add(cli: Cli, hub: Hub, user: str, *options: str, url: str | None = None, token: str | None = None) -> Any:
    words = ("sessions", "add", user, "--hub", url or hub.url, "--token-stdin", "--json", *options)
    return cli(*words, stdin=(token or hub.token_for(user)).encode())


def refused(answer: Any, code: int, name: str) -> Any:
    assert (answer.code, answer.json["error"]["name"]) == (code, name), answer
    return answer.json["error"]


def test_bad_input(cli: Cli, hub: Hub, jupyter: JupyterServer) -> None:
    """Whatever cannot be is told before anything starts, each with its own sentence; nothing is stored."""
    refused(add(cli, hub, "ann", token="wrong"), 77, "TokenRefused")
    refused(add(cli, hub, "ann", url=f"{hub.url}user/bob/lab"), 2, "ForeignServer")
    refused(add(cli, hub, "ann", url="http://127.0.0.1:1/"), 74, "ConnectionRefused")
    refused(add(cli, hub, "ann", url=jupyter.url), 74, "NotJupyterHub")
    asked = refused(add(cli, hub, "ann"), 2, "ServerNotRunning")
    assert "--start" in asked["suggestion"]
    poor = add(cli, hub, "ann", "--server", "gpu", token=hub.token_for("ann", "read:users!user=ann"))
    assert "start:servers" in refused(poor, 77, "ScopeMissing")["message"] or "servers" in poor.out
    unknown = refused(add(cli, hub, "ann", "--server", "gpu", "--server-profile", "h200"), 69, "SpawnFailed")
    assert "Options include: small, a100, slow" in unknown["message"]
    token = hub.token_for("ann").encode()
    as_server = cli("sessions", "add", "ann", "--url", f"{hub.url}user/ann/", "--token-stdin", "--json", stdin=token)
    assert "--hub URL" in refused(as_server, 74, "ServerStopped")["suggestion"]
    misplaced = cli("sessions", "add", "ann", "--url", hub.url, "--start", "--token-stdin", "--json", stdin=token)
    assert "--start is for --hub" in misplaced.json["error"]["message"]
    wrong_place = cli("--backend", "local", "run", "--server-profile", "a100", "true", "--json")
    assert (wrong_place.code, "starts no servers" in wrong_place.json["error"]["message"]) == (2, True)
    assert cli("sessions", "list", "--json").json == []
    assert hub.servers("ann") == {}


def test_a_named_server_from_start_to_end(cli: Cli, hub: Hub) -> None:
    """Started with its profile, lost to the Hub, started again with the loss said, and removed with its session."""
    added = add(cli, hub, "ada", "--server", "gpu", "--server-profile", "a100")
    assert added.code == 0, added
    assert "Server ready" in added.err
    ran = cli("run", "-m", "kernel", "import os; x = 1; print(os.environ['PROFILE'])")
    assert (ran.code, ran.out) == (0, "a100\n"), ran
    (listed,) = cli("sessions", "list", "--json").json
    assert (listed["backend"], listed["status"], listed["label"].endswith("ada/gpu")) == ("hub", "active", True)
    same = add(cli, hub, "ada", "--server", "gpu", "--server-profile", "small", "--force")
    assert "profile=a100" in refused(same, 2, "OtherOptions")["message"]
    hub.call("DELETE", "users/ada/servers/gpu")
    wait_until(lambda: hub.servers("ada") == {})
    named = cli("run", "-m", "kernel", "-s", "ada", "print(x)", "--json")
    assert refused(named, 74, "ServerStopped")
    again = cli(
        "run", "-m", "kernel", "print('x' in globals(), os.environ['PROFILE'])".replace("os.", "__import__('os').")
    )
    assert (again.code, again.out) == (0, "False a100\n"), again
    assert "a new one was started" in again.err
    assert cli("sessions", "close", "--json").json["closed"][0]["released"] == "server"
    assert hub.servers("ada") == {}


def test_the_default_server_is_the_users_own(cli: Cli, hub: Hub) -> None:
    """One that runs is used and left; silent work in it is reported to the Hub."""
    token = hub.token_for("eve")
    hub.call("POST", "users/eve/server", {})
    wait_until(lambda: hub.servers("eve")[""]["ready"])
    assert add(cli, hub, "eve", url=f"{hub.url}user/eve/lab", token=token).code == 0
    job = cli("run", "--detach", "sleep 10").out.strip()
    later = (datetime.now(UTC) + timedelta(seconds=5)).isoformat()  # by then, what the command caused is reported
    wait_until(lambda: hub.servers("eve")[""]["last_activity"] > later)
    assert cli("job", "wait", job).code == 0
    assert cli("sessions", "close", "--json").json["closed"][0]["released"] == "kernels"
    assert hub.servers("eve")[""]["ready"]


def test_one_command_and_an_interrupted_one(tmp_path: Path, hub: Hub) -> None:
    """From nothing to the result to nothing held; Ctrl-C while the server starts leaves nothing either."""
    token = hub.token_for("tom")
    cli = Cli(tmp_path, {"LECODER_CGPU_HUB_TOKEN": token})
    line = ("run", "--rm", "--hub", hub.url, "--server-profile")
    ran = cli(*line, "a100", "-m", "kernel", "import os; print(os.environ['PROFILE'])", "--json")
    assert (ran.code, ran.json["stdout"], ran.json["release"]["released"]) == (0, "a100\n", "server"), ran
    assert hub.servers("tom") == {}
    two = cli("--backend", "local", *line, "a100", "true", "--json")
    assert (two.code, two.json["error"]["name"]) == (2, "ConflictingOptions")
    process = cli.start(*line, "slow", "true")
    wait_until(lambda: any(item["pending"] == "spawn" for item in hub.servers("tom").values()))
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert (process.returncode, b"nothing is held" in err) == (130, True), err
    assert hub.servers("tom") == {}


def test_the_documented_hub_starts(tmp_path: Path) -> None:
    """The commands of the page start one that answers."""
    python()
    ports = [free_port() for _ in range(3)]
    more = f"c.JupyterHub.hub_port = {ports[1]}\nc.ConfigurableHTTPProxy.api_url = 'http://127.0.0.1:{ports[2]}'\nEND"
    commands = documented("hub", tmp_path, {":8000": f":{ports[0]}"}).replace("\nEND\n", f"\n{more}\n")
    process = start(commands, tmp_path)
    try:
        wait_for_api(process, f"http://127.0.0.1:{ports[0]}/hub/api?", tmp_path / "server.log")
    finally:
        end(process)
