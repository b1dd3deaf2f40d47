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
from tests.support.garbler import Garbler, garbler, places, replaced
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


def judge(result: Result, line: tuple[str, ...]) -> None:
    """No bug of ours, no traceback, no escape sequence, and one document where one was asked for."""
    shown = f"{line}: {result}"
    assert (result.code == 70, "2099" in result.out + result.err) == (False, False), shown
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
