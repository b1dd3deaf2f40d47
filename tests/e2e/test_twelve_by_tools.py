"""The twelve kinds of task by an agent that has nothing but tools: each right, in few calls, with little to read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client as McpClient

from lecoder_cgpu.testing.colab import FakeColab
from tests.e2e.test_mcp import document_of, serve
from tests.support.cli import Cli
from tests.support.work import FILES, LINES, prepare

CALLS = 16  # for the first ten tasks
BYTES = 20_000  # of results, for the first ten tasks


class Agent:
    """Calls tools, and counts the calls and what has to be read."""

    def __init__(self, client: McpClient) -> None:
        self.client, self.calls, self.bytes = client, 0, 0

    async def __call__(self, tool: str, *, failed: bool = False, **arguments: Any) -> Any:
        result = await self.client.call_tool(tool, arguments)
        assert result.is_error == failed, result
        self.calls += 1
        self.bytes += len(result.model_dump_json(by_alias=True, exclude_none=True).encode())
        return document_of(result)


@pytest.fixture
def folder(colab_cli: Cli, tmp_path: Path) -> Iterator[Path]:
    prepare(tmp_path / "work")
    yield tmp_path / "work"
    colab_cli("sessions", "close", "--all")


def test_twelve_tasks(colab: FakeColab, colab_cli: Cli, folder: Path) -> None:
    """Ten of them in at most 16 calls and 20 kB."""

    async def body(client: McpClient) -> None:
        agent = Agent(client)
        await ten(agent, colab, folder)
        assert agent.calls <= CALLS
        assert agent.bytes <= BYTES
        # 11. Three at once.
        found: dict[int, str] = {}

        async def one(number: int) -> None:
            found[number] = (await agent("run", command=f"echo {number}"))["stdout"]

        async with anyio.create_task_group() as group:
            for number in range(3):
                group.start_soon(one, number)
        assert found == {0: "0\n", 1: "1\n", 2: "2\n"}
        # 12. Stop paying, and prove it.
        closed = await agent("close", all=True)
        assert ([item["name"] for item in closed["closed"]], closed["held"], closed["wholeAccount"]) == (
            ["work"],
            [],
            True,
        )
        assert colab.vms == {}

    serve(colab_cli, body, allow=[folder])


async def ten(agent: Agent, colab: FakeColab, folder: Path) -> None:
    # 1. Which GPU, and how much memory?
    assert (await agent("ensure", session="work", gpu="T4"))["fresh"] is True
    (runtime,) = (await agent("status"))["runtimes"]
    assert (runtime["accelerator"], runtime["gpus"][0]["memory"]["totalBytes"] > 2**33) == ("Tesla T4", True)
    # 2. A missing package: the suggestion names a tool.
    missing = await agent("run", code="import surely_not_there", failed=True)
    assert missing["errorCode"] == 1005
    assert missing["error"]["suggestion"] == "the tool install with packages=surely-not-there"
    # 3. A script that fails.
    script = await agent("run", command="python -c 'raise ValueError(7)'", failed=True)
    assert (script["errorCode"], script["exitCode"], "ValueError: 7" in script["stderr"]) == (1002, 1, True)
    # 4. A job beside other work.
    job = (await agent("job_start", command="sleep 1; echo trained", key="train"))["jobId"]
    assert (await agent("run", code="print(6 * 7)"))["stdout"] == "42\n"
    ended = await agent("job_wait", job=job)
    assert (ended["errorCode"], ended["exitCode"], ended["stdout"]) == (0, 0, "trained\n")
    # 5. A large file there, transformed, and back.
    sent = await agent("push", sources=[str(folder / "big.bin")])
    await agent("run", command="tr '\\000-\\371' '\\001-\\372' < big.bin > out.bin")
    back = await agent("pull", sources=["out.bin"], target=f"{folder}/")
    table = bytes([*range(1, 251), *range(250, 256)])
    assert (folder / "out.bin").read_bytes() == (folder / "big.bin").read_bytes().translate(table)
    assert back["sha256"] != sent["sha256"]
    # 6. Many files.
    synced = await agent("sync", local=str(folder / "many"), remote="many")
    assert (synced["sent"], len(synced["changes"]) + synced["changesLeftOut"]) == (FILES, FILES)
    # 7. Exactly this many lines.
    printed = await agent("run", code=f"for i in range({LINES}): print(i)", max_output=512)
    assert printed["truncated"]["stdoutBytes"] == sum(len(f"{number}\n") for number in range(LINES))
    assert printed["stdout"].endswith(f"{LINES - 1}\n")
    # 8. The runtime is taken away: that is said at once, and only `ensure` gets another.
    colab.kill()
    lost = await agent("run", code="print(1)", failed=True)
    assert (lost["errorCode"], "the tool ensure with session=work" in lost["error"]["suggestion"]) == (2004, True)
    assert (await agent("ensure", session="work", gpu="T4"))["fresh"] is True
    # 9. A notebook with a parameter that fails.
    notebook = await agent("notebook", path=str(folder / "train.ipynb"), parameters={"rate": 0}, failed=True)
    assert (notebook["failedCellId"], notebook["error"]["name"]) == ("b", "ZeroDivisionError")
    assert "ZeroDivisionError" in (folder / "train.executed.ipynb").read_text()
    # 10. Today's failures.
    runs = (await agent("history", status="error", since="today"))["runs"]
    assert {"ModuleNotFoundError", "ZeroDivisionError"} <= {entry["error"]["ename"] for entry in runs}
