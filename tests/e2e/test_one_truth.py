"""One state of a runtime after the other, and four ways to ask: command line, tools, library, asynchronous library.

Each way has lived through the states before: what it remembers of them must not be what it says.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from anyio.to_thread import run_sync
from mcp import Client as McpClient

from lecoder_cgpu import AsyncClient, Client, errors
from lecoder_cgpu.testing.colab import FakeColab
from tests.e2e.test_mcp import document_of, serve
from tests.support.cli import Cli

SAME = ("status", "errorCode", "exitCode", "stdout", "outputComplete")  # of an answer, and the name of its error
FAILED = ("status", "errorCode", "exitCode", "name")  # of what was refused


class Ways:
    """The four ways, with a session object of each library that was made before anything happened."""

    def __init__(self, cli: Cli, tools: McpClient) -> None:
        self.cli, self.tools = cli, tools
        self.client, self.later = Client(), AsyncClient()

    async def open(self) -> None:
        self.session = await run_sync(lambda: self.client.ensure("work", gpu="T4"))
        self.waiting = await self.later.session("work")

    async def run(self, code: str) -> list[dict[str, Any]]:
        """What each says of the same code."""
        return [
            told((await run_sync(lambda: self.cli("-s", "work", "run", "-m", "kernel", "--json", code))).json),
            told(document_of(await self.tools.call_tool("run", {"session": "work", "code": code}))),
            await answered(lambda: run_sync(lambda: self.session.run(code))),
            await answered(lambda: self.waiting.run(code)),
        ]

    async def job(self, job: str) -> list[dict[str, Any]]:
        """What each says of the end of a job."""
        found = await self.waiting.find_job(job)
        return [
            told((await run_sync(lambda: self.cli("run", "--attach", job, "--json"))).json),
            told(document_of(await self.tools.call_tool("job_wait", {"session": "work", "job": job}))),
            await answered(lambda: run_sync(lambda: self.session.find_job(job).result())),
            await answered(found.result),
        ]

    async def listed(self) -> list[Any]:
        """Which runtimes each shows, whether they answer, and how many sessions there are."""
        documents = [
            (await run_sync(lambda: self.cli("status", "--json"))).json,
            document_of(await self.tools.call_tool("status", {})),
            msgspec.to_builtins(await run_sync(self.client.status)),
            msgspec.to_builtins(await self.later.status()),
        ]
        return [
            (
                [
                    (item["endpoint"], item["connected"], item.get("session"), item.get("problem"))
                    for item in document["runtimes"]
                ],
                document.get("error", {}).get("name"),
                {key: document["sessions"][key] for key in ("total", "connected", "stale")},
                document["authenticated"],
            )
            for document in documents
        ]

    async def known(self) -> list[Any]:
        """How each calls the state of the session."""
        return [
            (await run_sync(lambda: self.cli("sessions", "list", "--json"))).json[0]["status"],
            (await run_sync(self.client.sessions))[0].status,
            (await self.later.sessions())[0].status,
        ]


async def answered(call: Callable[[], Awaitable[Any]]) -> dict[str, Any]:
    """What a library returns or raises, as its document."""
    try:
        return told(msgspec.to_builtins(await call()))
    except errors.Error as error:
        return {"status": "error", "errorCode": error.code, "exitCode": error.exit_code, "name": error.name}


def told(document: dict[str, Any]) -> dict[str, Any]:
    found = {key: document[key] for key in SAME if key in document}
    return found | ({"name": document["error"]["name"]} if document.get("error") else {})


def one(answers: list[Any], names: tuple[str, ...] = ()) -> Any:
    """The answer of all of them, or what it says under these names."""
    if names:
        answers = [{name: answer[name] for name in names} for answer in answers]
    assert all(answer == answers[0] for answer in answers), answers
    return answers[0]


def test_every_way_says_the_same(
    colab: FakeColab, colab_cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Held, its kernel dead, a job finished, unlisted, lost, replaced, logged out, released."""
    for name, value in colab_cli.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)

    async def body(tools: McpClient) -> None:
        ways = Ways(colab_cli, tools)
        await ways.open()
        for state in (held, dead, finished, unlisted, lost, replaced, revoked):
            await state(ways, colab)

    try:
        serve(colab_cli, body)
    finally:
        colab_cli("sessions", "close", "--all")


async def held(ways: Ways, colab: FakeColab) -> None:
    answer = one(await ways.run("print(6 * 7)"))
    assert (answer["errorCode"], answer["stdout"]) == (0, "42\n")
    runtimes, _, sessions, _ = one(await ways.listed())
    assert (runtimes, sessions["total"]) == ([(colab.vm.endpoint, True, "work", None)], 1)
    assert one(await ways.known()) == "active"


async def dead(ways: Ways, colab: FakeColab) -> None:
    answer = one(await ways.run("print('last', flush=True)\nimport os; os._exit(3)"))
    assert (answer["name"], answer["stdout"], answer["outputComplete"]) == ("KernelDied", "last\n", False)


async def finished(ways: Ways, colab: FakeColab) -> None:
    job = (await ways.waiting.start("echo done; exit 3")).job_id
    answer = one(await ways.job(job), (*FAILED, "stdout"))
    assert (answer["errorCode"], answer["exitCode"]) == (1002, 3)
    assert one(await missing(ways))["errorCode"] == 2005


async def missing(ways: Ways) -> list[dict[str, Any]]:
    """What each says of a job that nobody has started."""
    job = "run-0123456789abcdef"
    return [
        told((await run_sync(lambda: ways.cli("-s", "work", "job", "wait", job, "--json"))).json),
        told(document_of(await ways.tools.call_tool("job_wait", {"session": "work", "job": job}))),
        await answered(lambda: run_sync(lambda: ways.session.find_job(job).wait())),
        await answered(lambda: wait_for(ways, job)),
    ]


async def wait_for(ways: Ways, job: str) -> Any:
    return await (await ways.waiting.find_job(job)).wait()


async def unlisted(ways: Ways, colab: FakeColab) -> None:
    """Its row is missing, and it answers: it is held."""
    hidden = colab.fail("GET /tun/m/assignments", times=None, edit=lambda document: {"assignments": []})
    assert one(await ways.run("print(1)"))["errorCode"] == 0
    one(await ways.listed())
    assert one(await ways.known()) != "stale"
    colab.mend(hidden)


async def lost(ways: Ways, colab: FakeColab) -> None:
    """The first who asks and the last hear the same, and nobody starts another one."""
    colab.kill()
    answer = one(await ways.run("print(1)"), FAILED)
    assert (answer["errorCode"], answer["name"], colab.vms) == (2004, "RuntimeLost", {})
    one(await ways.listed())
    assert one(await ways.known()) == "stale"


async def replaced(ways: Ways, colab: FakeColab) -> None:
    """The objects that knew the last runtime use the next one, once somebody has started it."""
    assert (await run_sync(lambda: ways.cli("sessions", "ensure", "work", "--gpu", "T4", "--json"))).json["fresh"]
    assert one(await ways.run("print(2)"))["stdout"] == "2\n"
    runtimes, *_ = one(await ways.listed())
    assert runtimes == [(colab.vm.endpoint, True, "work", None)]
    again = await ways.later.ensure("work", gpu="T4")
    tool = document_of(await ways.tools.call_tool("ensure", {"session": "work", "gpu": "T4"}))
    assert (again.fresh, tool["fresh"]) == (False, False)


async def revoked(ways: Ways, colab: FakeColab) -> None:
    """A login that was taken back is one to all of them; what is held can still be used."""
    colab.revoke_logins()
    colab.expire_access_tokens()
    assert one(await ways.run("print(3)"))["stdout"] == "3\n"
    answers = [
        told(
            (await run_sync(lambda: ways.cli("-s", "work", "sessions", "ensure", "next", "--gpu", "T4", "--json"))).json
        ),
        told(document_of(await ways.tools.call_tool("ensure", {"session": "next", "gpu": "T4"}))),
        await answered(lambda: run_sync(lambda: ways.client.ensure("next", gpu="T4"))),
        await answered(lambda: ways.later.ensure("next", gpu="T4")),
    ]
    assert one(answers, FAILED[:3])["errorCode"] == 2001  # the first hears that it expired, and it is forgotten then
    one(await ways.listed())
