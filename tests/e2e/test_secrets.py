"""Secrets appear nowhere: a day on the fake with marked secrets, and then a look into every file, stream and process.

`pytest tests/e2e/test_secrets.py` repeats it on any machine.
"""

from __future__ import annotations

import base64
import json
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from mcp import Client as McpClient

from lecoder_cgpu.testing.colab import FakeColab
from tests.e2e.test_auth import visit
from tests.e2e.test_mcp import serve
from tests.support.cli import Cli, Result
from tests.support.notebooks import code, write

MARK = "Mark3d"  # in every secret of the user
# The files whose purpose is to hold a login, a client or a runtime's token; all are 0600.
KEPT = {"config.json", "session.json", "sessions.json", "token.json"}


@pytest.fixture
def day(colab: FakeColab, colab_cli: Cli) -> Iterator[Cli]:
    colab.switches.keep_alive = "empty"
    colab_cli.variables |= {
        "LECODER_CGPU_KEEPER": "on",
        "LECODER_CGPU_KEEPER_INTERVAL": "0.5",
        "LECODER_CGPU_DEBUG": "1",  # every record is in the streams as well
        "API": f"{MARK}-api-value",
        "HTTP_PROXY_OF_OTHERS": f"http://u:{MARK}-proxy@h",
    }
    yield colab_cli
    colab_cli("sessions", "close", "--all", "--force")
    colab_cli("keeper", "stop")


def stored_secrets(cli: Cli) -> set[str]:
    """What the files of the login and of the sessions hold that nobody else may have."""
    found: set[str] = set()

    def walk(value: Any) -> None:
        for key, item in value.items() if isinstance(value, dict) else ():
            if isinstance(item, str) and ("token" in key.lower() or "secret" in key.lower()) and len(item) > 8:
                found.add(item)
            walk(item)
        for item in value if isinstance(value, list) else ():
            walk(item)

    for path in (cli.home / "config").rglob("*.json"):
        if path.name in KEPT:
            walk(json.loads(path.read_text()))
    return found


def spelled(secrets: set[str]) -> set[bytes]:
    return {form.encode() for secret in secrets for form in (secret, quote(secret, safe=""), json.dumps(secret)[1:-1])}


def leaks(secrets: set[str], results: list[Result], folder: Path) -> list[str]:
    """Where one of them was found."""
    wanted = spelled(secrets)
    places = {f"stream {number}": (item.out + item.err).encode() for number, item in enumerate(results)}
    for path in folder.rglob("*"):
        if path.is_file() and path.name not in KEPT:
            places[str(path)] = path.read_bytes()
            if path.parent.name == "jobs":  # words that nobody has called secret are executed again as they are
                assert path.stat().st_mode & 0o077 == 0, path
                places[str(path)] = b"".join(re.findall(f"{MARK}-api".encode(), places[str(path)]))
    return [
        f"{place}: {content[max(content.find(item) - 200, 0) :][:400].decode('utf-8', 'replace')}"
        for place, content in places.items()
        for item in wanted
        if item in content
    ]


def process_leaks(secrets: set[str], cli: Cli) -> list[str]:
    """The same in the command lines of all processes, and in the environments of those that were left running."""
    wanted = spelled(secrets)
    ours = f"LECODER_CGPU_CONFIG_DIR={cli.home / 'config'}".encode()
    found, keepers = [], 0
    for path in Path("/proc").glob("[0-9]*"):
        try:
            line, environment = (path / "cmdline").read_bytes(), (path / "environ").read_bytes()
        except OSError:
            continue
        if ours not in environment:
            continue
        keepers += b"keeper" in line
        if b"keeper" not in line:
            environment = b""  # this test has put them there
        found += [f"{line!r}: {item!r}" for item in wanted if item in line or item in environment]
    assert keepers == 1
    return found


Do = Callable[..., Result]


def failures(do: Do) -> None:
    """Failures of every kind that has a secret at hand: addresses, tokens, proxies, answers that are pasted."""
    nobody = "127.0.0.1:9"
    add = ("sessions", "add", "x", "--url", f"http://{nobody}/")
    for line, options in (
        ((*add, "--token-stdin"), {"stdin": f"{MARK}-20".encode()}),
        ((*add, "--password-stdin"), {"stdin": f"{MARK}-21".encode()}),
        (("--backend", "jupyter", "run", "true"), {"env": jupyter(f"http://{nobody}/", f"{MARK}-22")}),
        (("--backend", "jupyter", "run", "true"), {"env": jupyter(f"http://{nobody}/?token={MARK}-23", "")}),
        (("sessions", "add", "x", "--hub", f"http://u:{MARK}-24@{nobody}/"), {}),
        (("sessions", "add", "x", "--hub", f"http://{nobody}/", "--token-stdin"), {"stdin": f"{MARK}-50".encode()}),
        (("--backend", "hub", "run", "true"), {"env": hub(f"http://{nobody}/", f"{MARK}-51")}),
        (("run", f"curl -s 'http://{nobody}/?sig={MARK}-52&X-Amz-Signature={MARK}-53'"), {}),
        (("notebook", "run", f"https://u:{MARK}-25@{nobody}/x.ipynb?token={MARK}-26"), {}),
        (("notebook", "list"), {"env": proxied(f"http://u:{MARK}-27@{nobody}")}),
        (("doctor", "--json"), {"env": proxied(f"socks5://u:{MARK}-28@{nobody}")}),
        (("upgrade", "--check"), {"env": proxied(f"http://u:{MARK}-29@{nobody}")}),
        (("auth", "login", "--finish", "nosuchflow", "--code-stdin"), {"stdin": f"4/0{MARK}-30".encode()}),
        (("auth", "import"), {"stdin": f'{{"refreshToken": "{MARK}-31"}}'.encode()}),
        (("run", "--secret", "API=-", "--no-such-option"), {"stdin": f"{MARK}-32\n".encode()}),
    ):
        assert do(*line, **options).code != 0 or line[0] == "upgrade", line
    assert do("sessions", "switch", "colab").code == 0


def jupyter(url: str, token: str) -> dict[str, str]:
    return {"LECODER_CGPU_JUPYTER_URL": url, "LECODER_CGPU_JUPYTER_TOKEN": token}


def hub(url: str, token: str) -> dict[str, str]:
    return {"LECODER_CGPU_HUB_URL": url, "LECODER_CGPU_HUB_TOKEN": token}


def proxied(url: str) -> dict[str, str]:
    return {"HTTPS_PROXY": url, "ALL_PROXY": url, "LECODER_CGPU_GOOGLE_APIS_DOMAIN": "https://nobody.example"}


def repeated(day: Cli, folder: Path) -> None:
    """Programs that print what their command betrays: the output is theirs, and nobody else keeps it as it is."""
    (folder / "variables").write_text(f"DB_PASSWORD={MARK}-57-variable\n")
    for line in (
        ("run", f"echo 'http://h/?sig={MARK}-54-signature'; exit 1"),
        ("run", "-m", "kernel", f"print('http://h/?token={MARK}-55-token'); 1/0"),
        ("install", f"x @ git+https://{MARK}-56-0123456789@127.0.0.1:9/x.git"),
        ("run", "--env-file", str(folder / "variables"), 'test "$DB_PASSWORD" = x'),
    ):
        assert day(*line).code == 1, line


def printed(do: Do, folder: Path) -> None:
    """Programs that print their secret: lists do not show it, and the logs of the job, which do, are not asked for."""
    jobs = [do("run", "--detach", "--secret", "API", 'echo "$API"; echo "ValueError: $API" >&2; exit 4').out.strip()]
    jobs.append(do("run", "--detach", "--secret", "API", f"echo {MARK}-api-value").out.strip())
    source = write(folder / "n.ipynb", code("import os; print(os.environ['API'])"))
    jobs.append(do("notebook", "run", str(source), "--detach", "--secret", "API").out.strip())
    for job in jobs:
        do("job", "wait", job)
        do("job", "show", job, "--json")
    do("sessions", "list", "--json")


def login_in_two_steps(colab: FakeColab, do: Do) -> set[str]:
    """Log in anew; returns the codes that passed through a person's hands."""
    started = do("auth", "login", "--force", "--start", "--json").json
    address = visit(started["url"])
    (found,) = parse_qs(urlsplit(address).query)["code"]
    wrong = address.replace(quote(found, safe=""), f"4%2F0{MARK}-33")
    assert do("auth", "login", "--finish", started["flowId"], "--code-stdin", stdin=wrong.encode()).code != 0
    started = do("auth", "login", "--force", "--start", "--json").json
    address = visit(started["url"])
    (found,) = parse_qs(urlsplit(address).query)["code"]
    assert do("auth", "login", "--finish", started["flowId"], "--code-stdin", stdin=address.encode()).code == 0
    return {found}


def agents(day: Cli, seen: list[Result]) -> None:
    """The same through the Model Context Protocol: what it answers counts as a stream."""

    async def body(client: McpClient) -> None:
        for name, arguments in (
            ("run", {"command": f"true --password {MARK}-40; DB_PASSWORD={MARK}-41 false"}),
            ("run", {"command": f"true --token {MARK}-42", "detach": True}),
            ("run", {"code": f"api_key = '{MARK}-43'; 1/0"}),
            ("ensure", {"name": f"--token={MARK}-44"}),
            ("status", {}),
            ("history", {}),
        ):
            result = await client.call_tool(name, arguments)
            text = "".join(item.text for item in result.content if item.type == "text")
            seen.append(Result(0, text.replace(f"{MARK}-43'; 1/0", ""), ""))  # the exception quotes the agent's line

    serve(day, body)


@pytest.mark.timeout(600)
def test_a_day_leaves_no_secret_anywhere(colab: FakeColab, day: Cli, tmp_path: Path) -> None:
    seen: list[Result] = []

    def do(*line: str, **options: Any) -> Result:
        seen.append(day(*line, **options))
        return seen[-1]

    secrets = stored_secrets(day)
    assert len(secrets) >= 2, "the client's secret and the refresh token"
    exported = base64.b64encode(day("auth", "export", "--ci", "--json").out.encode()).decode()
    refresh = json.loads((day.state / "session.json").read_text())["refreshToken"]
    for given in (exported, f'"{exported}"', refresh, f"'{refresh}'", "x" * 300 + MARK):
        failed = do("auth", "check", env={"LECODER_CGPU_CREDENTIALS": given})
        assert (failed.code, "LECODER_CGPU_CREDENTIALS" in failed.err) == (78, True)
    secrets |= {exported, exported[:40], refresh, MARK}

    # What a program prints is its own; this one has the secret and keeps it to itself.
    assert do("run", "--cpu", "--secret", "API", 'test "${#API}" = 16 && exit 3').code == 3
    for refused in (("--secret", f"API={MARK}-1"), (f"--secret=API={MARK}-2",)):
        assert do("run", *refused, "true").code == 2
    failures(do)
    printed(do, tmp_path)
    repeated(day, tmp_path)
    secrets |= login_in_two_steps(colab, do)
    agents(day, seen)
    command = f"python3 -c pass --password {MARK}-3; DB_PASSWORD={MARK}-4 true; "
    command += f": postgres://u:{MARK}-5@h/db; : --api-key={MARK}-6"
    assert do("run", command).code == 0
    assert do("run", "--detach", command).code == 0
    assert do("run", "true", "--token", f"{MARK}-7").code == 0
    assert do("run", "-m", "kernel", f"db_password = '{MARK}-8'").code == 0
    for failing in (
        ("run", "--token", f"{MARK}-9"),
        ("sessions", "add", "x", "--url", f"http://u:{MARK}-10@127.0.0.1:9/"),
    ):
        assert do(*failing).code != 0
    colab.fail("* /tun/m/*", times=2, status=500, body=f"{refresh} said".encode())
    do("sessions", "list", "--json")
    page = str(day.home / "page.html")
    for line in (("job", "list", "--json"), ("job", "list"), ("logs", "--json"), ("logs", "--html", page),
                 ("doctor",), ("status", "--json"),
                 ("sessions", "list", "--json"), ("debug", "tail", "-n", "500"), ("keeper", "status"),
                 ("debug", "show", "--json", "-n", "1000")):  # fmt: skip
        do(*line)
    for left in (("serve",), ("forward", "8123:0"), ("forward", "8124:8124", "--via", "proxy"),
                 ("run", "--secret", "API", "echo begun >&2; sleep 60")):  # fmt: skip
        running = day.start(*left)
        assert running.stderr
        running.stderr.readline()
        secrets |= stored_secrets(day)
        processes = process_leaks(secrets, day)
        running.send_signal(signal.SIGINT if left[0] != "run" else signal.SIGKILL)
        out, err = running.communicate(timeout=60)
        assert processes == []
        seen.append(Result(running.returncode, out.decode(), err.decode()))
    do("job", "list")  # completes what the killed command left open
    assert leaks(secrets, seen, day.home) == []
