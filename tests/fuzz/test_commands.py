"""Whole commands against real servers that say one odd thing: an error that a person understands, or success."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from lecoder_cgpu.testing.colab import FakeColab
from tests.support.cli import Cli, Result
from tests.support.colab import logged_in
from tests.support.fuzz import VALUES, Choices, Fuzz
from tests.support.garbler import Garbler, encode, garbler, places, replaced
from tests.support.notebooks import code, text, write
from tests.support.servers import JupyterServer

FURTHER: tuple[Any, ...] = (
    "http://[::bad", "http://127.0.0.1:1/", "\x1b]52;c;eA==\x07", "2026-13-45", "1970-01-01T00:00:00Z", 1e-320, "NaN",
    "9" * 400, {"a": {"a": {"a": []}}}, [1, [2, [3]]], "$(touch /tmp/x)", "a\nb", b"{", b"\xff", b"1e999",
)  # fmt: skip
GOOGLE = ("oauthDomain", "googleApisDomain", "colabApiDomain", "colabPublicApiDomain", "colabGapiDomain")
DAY = (
    ("status", "--json"), ("sessions", "list", "--json"), ("usage", "--json"), ("gpus", "--json"),
    ("auth", "check", "--json"), ("auth", "status", "--json"), ("sessions", "list"), ("usage",), ("status",), ("gpus",),
    ("sessions", "adopt", "gpu-x", "--json"), ("run", "--json", "true"), ("notebook", "list", "--json"),
    ("sessions", "ensure", "one", "--json"), ("colab", "consent", "drive", "--json"), ("sessions", "clean", "--json"),
)  # fmt: skip
LAB = (
    ("kernel", "list", "--json"), ("kernel", "status", "--json"), ("status", "--json"), ("ls", "--json"),
    ("sessions", "list", "--json"), ("run", "-m", "kernel", "--json", "1"), ("run", "--json", "true"),
    ("sessions", "add", "y", "--json", "--force", "--token-stdin", "--url"), ("kernel", "list"), ("doctor", "--json"),
    ("kernel", "restart", "--json"),
)  # fmt: skip


BUG = re.compile(r'"errorCode": ?2099|this is a bug in lecoder-cgpu')


def judge(result: Result, line: tuple[str, ...]) -> None:
    """No bug of ours, no traceback, no escape sequence, and one document where one was asked for."""
    shown = f"{line}: {result}"
    assert (result.code == 70, bool(BUG.search(result.out + result.err))) == (False, False), shown
    assert "Traceback" not in result.err, shown
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f]", result.out + result.err), shown
    if "--json" in line:
        json.loads(result.out)


def odd(choices: Choices, garblers: list[Garbler]) -> None:
    """One value of one of the first answers becomes an odd one."""
    which, value = choices.below(4), choices.pick((*VALUES, *FURTHER))
    begun = sum(item.answers for item in garblers)

    def change(document: Any) -> Any:
        if sum(item.answers for item in garblers) - begun != which + 1:
            return document
        found = list(places(document))
        return replaced(document, found[choices.below(min(len(found), 60000))], value)

    for item in garblers:
        item.change = change


@pytest.fixture
def google(tmp_path: Path) -> Iterator[tuple[Cli, list[Garbler], FakeColab]]:
    """A login to the fake, and a session there, all of whose services are behind garblers."""
    with FakeColab(tmp_path / "colab") as fake, ExitStack() as stack:
        cli = logged_in(Cli(tmp_path / "home"), fake)
        path = cli.home / "config" / "config.json"
        settings = json.loads(path.read_text())
        garblers = {name: stack.enter_context(garbler(settings[name])) for name in GOOGLE}
        path.write_text(json.dumps(settings | {name: item.url for name, item in garblers.items()}))
        yield cli, list(garblers.values()), fake


def test_google(fuzz: Fuzz, google: tuple[Cli, list[Garbler], FakeColab]) -> None:
    """Login, listings, units, allocation, Drive."""
    cli, garblers, _ = google

    def check(choices: Choices) -> None:
        line = choices.pick(DAY)
        if choices.below(3) == 0:
            (cli.state / "token.json").unlink(missing_ok=True)
        api = choices.pick(("tunnel", "tunnel", "public"))
        odd(choices, garblers)
        judge(cli(*line, env={"LECODER_CGPU_COLAB_API": api}), line)

    fuzz("google_commands", check)
    print(f"commands and Google: {fuzz.runs}, {sum(item.answers for item in garblers)} answers")


def test_a_jupyter_server(fuzz: Fuzz, jupyter: JupyterServer, tmp_path: Path) -> None:
    """Kernels, sessions, listings of a Jupyter server."""
    cli = Cli(tmp_path)
    with garbler(jupyter.url.rstrip("/")) as between:
        token = jupyter.token.encode()
        added = cli("sessions", "add", "x", "--url", between.url + "/", "--token-stdin", stdin=token)
        assert added.code == 0, added

        def check(choices: Choices) -> None:
            line = choices.pick(LAB)
            odd(choices, [between])
            line = (*line, between.url + "/") if line[-1] == "--url" else line
            judge(cli(*line, stdin=token if "--token-stdin" in line else None), line)

        fuzz("jupyter_commands", check)
        print(f"commands and a Jupyter server: {fuzz.runs}, {between.answers} answers")


# --- what lies on this machine -----------------------------------------------------------------------------------

STATE = ("sessions.json", "session.json", "token.json", "history.jsonl", "../config.json")
READERS = (
    ("status", "--json"), ("sessions", "list", "--json"), ("logs", "--json"), ("auth", "status", "--json"), ("logs",),
    ("sessions", "list"), ("run", "--json", "true"), ("keeper", "status", "--json"), ("usage", "--json"),
    ("sessions", "rename", "colab", "b", "--json"), ("job", "list", "--json"), ("sessions", "clean", "--json"),
)  # fmt: skip


def damaged(choices: Choices, content: bytes) -> bytes:
    """A file with one odd value in its JSON, or with other bytes in it."""
    kind = choices.below(4)
    if kind == 0:
        at = choices.below(max(len(content), 1))
        return content[:at] + choices.raw(20) + content[at + choices.below(30) :]
    lines = content.splitlines() or [b"{}"]
    try:
        documents = [json.loads(content)]
    except ValueError:
        documents = [json.loads(line) for line in lines]
    which = choices.below(len(documents))
    found = list(places(documents[which]))
    documents[which] = replaced(documents[which], found[choices.below(len(found))], choices.pick((*VALUES, *FURTHER)))
    return b"\n".join(map(encode, documents))


def test_state_files(fuzz: Fuzz, colab: FakeColab, colab_cli: Cli) -> None:
    """Files of ours that a crash, another version or a person has changed."""
    colab.switches.keep_alive = "empty"
    for line in (("run", "--cpu", "true"), ("run", "exit 3"), ("auth", "check")):
        colab_cli(*line)
    sound = {name: (colab_cli.state / name).read_bytes() for name in STATE}

    def check(choices: Choices) -> None:
        for name, content in sound.items():
            (colab_cli.state / name).write_bytes(content)
        name, line = choices.pick(STATE), choices.pick(READERS)
        (colab_cli.state / name).write_bytes(damaged(choices, sound[name]))
        judge(colab_cli(*line), (name, *line))

    fuzz("state_files", check)
    print(f"commands and state files: {fuzz.runs}")


def test_notebooks(fuzz: Fuzz, cli: Cli, tmp_path: Path) -> None:
    """Notebooks that no program has written."""
    cells = [code("x = 1", "parameters"), code("x"), text("# title")]
    sound = write(tmp_path / "sound.ipynb", *cells).read_bytes()
    path = tmp_path / "n.ipynb"
    nowhere = {"LECODER_CGPU_BACKEND": "jupyter", "LECODER_CGPU_JUPYTER_URL": "http://127.0.0.1:1/"}

    def check(choices: Choices) -> None:
        path.write_bytes(damaged(choices, sound))
        line = choices.pick(
            (
                ("notebook", "parameters", str(path), "--json"),
                ("notebook", "convert", str(path), "-o", str(tmp_path / "n.py"), "--force", "--json"),
                ("notebook", "run", str(path), "-p", "x=2", "--json"),
            )
        )
        judge(cli(*line, env=nowhere), line)

    fuzz("notebooks", check)
    print(f"commands and notebooks: {fuzz.runs}")


ARGUMENTS = (
    "run", "job", "sessions", "logs", "ls", "auth", "notebook", "-m", "kernel", "--json", "-s", "--session", "--", "-",
    "", "-e", "A=", "=", "--env=A=\udcff", "\udce9", "-1", "99999999999999999999", "1e999", "nan", "²", "--timeout",
    "--tail", "--gpu", "T4", "--from", "stdout=²", "a" * 5000, "\x1b]52;c;eA==\x07", "--help", "--version", "list",
    "show", "wait", "add", "ensure", "--url", "http://[", "http://127.0.0.1:1/", "--idle-release", "1²", "-o", "/",
    "..", "--cwd", "\u202e", "--pull", "a:b:c", "--key", "--name", "--limit", "--since", "9999-99-99", "-n", "--config",
    "/dev/null", "--backend", "jupyter", "local", "convert", "--sync", "/proc", "mcp", "forward", "0", "70000", "8000:",
    "reference",
)  # fmt: skip
WORLDLY = {"mcp", "local", "install", "connect"}  # they start something, or wait for input


def test_arguments(fuzz: Fuzz, cli: Cli) -> None:
    """Words in any order: an error of usage, or what they ask for."""
    nowhere = {"LECODER_CGPU_BACKEND": "jupyter", "LECODER_CGPU_JUPYTER_URL": "http://127.0.0.1:1/"}

    def check(choices: Choices) -> None:
        line = tuple(choices.pick(ARGUMENTS) for _ in range(1 + choices.below(6)))
        if not WORLDLY & set(line):  # behind the words of a command, --json is one of them
            judge(cli(*line, env=nowhere), tuple(word for word in line if word != "--json"))

    fuzz("arguments", check)
    print(f"arguments: {fuzz.runs}")
