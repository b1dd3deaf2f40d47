"""The MCP server, spoken to by the SDK's own client over a real pipe."""

from __future__ import annotations

import base64
import io
import json
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import anyio
import jsonschema
import mcp_types as types
import pytest
from mcp import Client as McpClient
from mcp import StdioServerParameters
from mcp.client.stdio import stdio_client
from PIL import Image
from pydantic import FileUrl

from tests.contract.test_documents import validate
from tests.support.cli import Cli


def serve(
    cli: Cli,
    body: Callable[[McpClient], Awaitable[None]],
    *,
    allow: Sequence[Path] = (),
    roots: Sequence[Path] | None = None,
) -> None:
    """Run a coroutine with a client that is connected to a server of its own.

    Args:
        allow: folders that the server is told of. roots: those that the client names when it is asked.
    """

    async def named(context: Any) -> types.ListRootsResult:
        return types.ListRootsResult(roots=[types.Root(uri=FileUrl(path.as_uri())) for path in roots or ()])

    async def main() -> None:
        arguments = ["-m", "lecoder_cgpu", "mcp", *(f"--allow={path}" for path in allow)]
        parameters = StdioServerParameters(command=sys.executable, args=arguments, env=cli.environment())
        asked = None if roots is None else named
        mode = "auto" if roots is None else "legacy"  # the newest protocol lets no server ask for roots
        async with McpClient(stdio_client(parameters), list_roots_callback=asked, mode=mode) as client:
            await body(client)

    anyio.run(main)


@pytest.fixture(scope="module")
def served(lab: Cli) -> Callable[[Callable[[McpClient], Awaitable[None]]], None]:
    """Serves the session on the stock server."""
    return lambda body: serve(lab, body)


async def answer(client: McpClient, name: str, **arguments: Any) -> Any:
    """The structured content of a tool's answer that is no error."""
    result = await client.call_tool(name, arguments)
    assert not result.is_error, result
    return result.structured_content


def test_the_tools(served: Any) -> None:
    """A static list, each with schemas and with annotations for what spends and what destroys."""

    async def body(client: McpClient) -> None:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert set(tools) >= {
            "status",
            "ensure",
            "run",
            "job_start",
            "job_wait",
            "job_kill",
            "push",
            "pull",
            "install",
            "close",
        }
        for tool in tools.values():
            assert tool.input_schema["type"] == "object", tool
            assert tool.output_schema is not None
            assert tool.output_schema["type"] == "object"
        assert tools["status"].annotations is not None
        assert tools["status"].annotations.read_only_hint is True
        assert tools["close"].annotations is not None
        assert tools["close"].annotations.destructive_hint is True

    served(body)


def test_running(served: Any) -> None:
    """The documents are those of --json; state stays; what fails is marked as an error with its document."""

    async def body(client: McpClient) -> None:
        validate(await answer(client, "status"), "status")
        await answer(client, "run", code="x = 20")
        document = await answer(client, "run", code="print(x + 1)")
        validate(document, "run")
        assert document["stdout"] == "21\n"
        assert (await answer(client, "run", command="echo hi"))["stdout"] == "hi\n"
        (schema,) = [tool.output_schema or {} for tool in (await client.list_tools()).tools if tool.name == "run"]
        jsonschema.validate(document, schema)
        failed = await client.call_tool("run", {"code": "1/0"})
        assert failed.is_error
        assert failed.structured_content["errorCode"] == 1002
        for wrong in ({}, {"code": "1", "command": "ls"}, {"code": "1", "nonsense": 1}, {"code": "1", "wait": 100}):
            refused = await client.call_tool("run", wrong)
            assert refused.is_error
            jsonschema.validate(refused.structured_content, schema)  # some clients do that
            validate(refused.structured_content, "failure")
            assert refused.structured_content["errorCode"] == 2006
        assert (await client.call_tool("nonsense", {})).is_error

    served(body)


def test_a_runtime_of_colab(colab_cli: Cli) -> None:
    """Ensured twice, it is one runtime; closed, it is released."""

    async def body(client: McpClient) -> None:
        document = await answer(client, "ensure", session="train", gpu="T4")
        validate(document, "sessions-add")
        again = await answer(client, "ensure", session="train", gpu="T4")
        assert again["session"]["runtime"]["endpoint"] == document["session"]["runtime"]["endpoint"]
        assert (document["fresh"], again["fresh"]) == (True, False)
        assert (await client.call_tool("ensure", {"session": "other", "gpu": "H9000"})).is_error
        assert (await answer(client, "close", session="train"))["released"] == "runtime"

    serve(colab_cli, body)


def test_files(lab: Cli, tmp_path: Path) -> None:
    """There and back, below what a person has allowed."""

    async def body(client: McpClient) -> None:
        (tmp_path / "in.txt").write_text("there and back")
        sent = await answer(client, "push", sources=[str(tmp_path / "in.txt")], target="mcp/out.txt")
        validate(sent, "transfer")
        await answer(client, "pull", sources=["mcp/out.txt"], target=str(tmp_path / "back.txt"))
        assert (tmp_path / "back.txt").read_text() == "there and back"
        installed = await answer(client, "install", packages=["pip"])
        validate(installed, "install")
        missing = await client.call_tool("pull", {"sources": ["mcp/nothing"], "target": str(tmp_path)})
        assert missing.is_error
        assert missing.structured_content["errorCode"] == 2005

    serve(lab, body, allow=[tmp_path])


@pytest.mark.parametrize("has_roots", [True, False])
def test_files_that_an_agent_may_not_touch(lab: Cli, tmp_path: Path, has_roots: bool) -> None:
    """What lies outside of the client's roots, or of the working folder, is neither sent nor written."""
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "in.txt").write_text("x")

    async def body(client: McpClient) -> None:
        if has_roots:
            assert (await answer(client, "push", sources=[str(tmp_path / "work" / "in.txt")]))["files"] == 1
            assert (await answer(client, "push", sources=["in.txt"]))["files"] == 1
        for name, arguments in (
            ("push", {"sources": ["/etc/passwd"]}),
            ("push", {"sources": [str(lab.state / "sessions.json")]}),
            ("pull", {"sources": ["in.txt"], "target": str(tmp_path / "out.txt")}),
        ):
            refused = await client.call_tool(name, arguments)
            assert refused.is_error
            assert refused.structured_content["error"]["name"] in ("OutsideRoots", "OwnFolder")
        assert not (tmp_path / "out.txt").exists()

    serve(lab, body, roots=[tmp_path / "work"] if has_roots else None)


def test_output_is_bounded(served: Any) -> None:
    """Eight kilobytes of each stream, head and tail, and the size of the whole."""

    async def body(client: McpClient) -> None:
        document = await answer(client, "run", code="for i in range(100_000): print(i)")
        assert len(document["stdout"]) < 9000
        assert document["stdout"].startswith("0\n1\n")
        assert document["stdout"].endswith("99999\n")
        assert document["truncated"]["stdoutBytes"] == 588890

    served(body)


def test_an_error_is_bounded(served: Any) -> None:
    """A message of megabytes must not end an agent's context."""

    async def body(client: McpClient) -> None:
        found = await client.call_tool("run", {"code": "raise ValueError('x' * 3_000_000)"})
        assert found.structured_content["truncated"]["errorBytes"] > 6_000_000
        assert len(json.dumps(found.structured_content)) < 30_000
        assert sum(len(getattr(part, "text", "")) for part in found.content) < 30_000

    served(body)


def test_work_becomes_a_job(served: Any, tmp_path: Path) -> None:
    """A command that takes longer than the call goes on; job_wait brings what is new, job_kill ends it."""

    async def body(client: McpClient) -> None:
        command = "for i in 1 2 3; do echo $i; done; sleep 120"
        document = await answer(client, "run", command=command, wait=2)
        assert (document["status"], document["exitCode"]) == ("running", 124)
        job = document["runId"]
        progress = await answer(client, "job_wait", job=job, wait=0, stdout_offset=2)
        validate(progress, "job-progress")
        assert (progress["stdout"], progress["stdoutOffset"]) == ("2\n3\n", 6)
        assert (await answer(client, "job_kill", job=job))["id"] == job
        ended = await answer(client, "job_wait", job=job, stdout_offset=6)
        assert (ended["job"]["exitCode"], ended["stdout"]) == (143, "")
        first = await answer(client, "job_start", command="echo once", key="mcp")
        assert (await answer(client, "job_start", command="echo once", key="mcp"))["jobId"] == first["jobId"]

    served(body)


def test_images_are_images(served: Any) -> None:
    """Rich outputs come as image content, scaled down to a budget, and never as base64 in the document."""

    async def body(client: McpClient) -> None:
        code = (
            "import base64, os, struct, zlib\nfrom IPython.display import Image, display\n"
            "def chunk(kind, data): return struct.pack('>I', len(data)) + kind + data + "
            "struct.pack('>I', zlib.crc32(kind + data))\n"
            "rows = b''.join(b'\\0' + os.urandom(3 * 900) for _ in range(900))\n"
            "png = b'\\x89PNG\\r\\n\\x1a\\n' + chunk(b'IHDR', struct.pack('>IIBBBBB', 900, 900, 8, 2, 0, 0, 0))\n"
            "display(Image(png + chunk(b'IDAT', zlib.compress(rows)) + chunk(b'IEND', b'')))"
        )
        result = await client.call_tool("run", {"code": code})
        assert not result.is_error, result
        (picture,) = [item for item in result.content if item.type == "image"]
        with Image.open(io.BytesIO(base64.b64decode(picture.data))) as opened:
            assert max(opened.size) == 512
        assert len(str(result.structured_content)) < 10_000

    served(body)


def test_cancelling_interrupts_the_remote_run(served: Any, lab: Cli) -> None:
    """A call that the client gives up does not go on in the kernel."""

    async def body(client: McpClient) -> None:
        seen: list[Any] = []

        async def progress(progress: float, total: float | None, message: str | None) -> None:
            seen.append(message)

        with anyio.move_on_after(8):
            await client.call_tool(
                "run", {"code": "import time\nprint('up', flush=True)\ntime.sleep(300)"}, progress_callback=progress
            )
        assert seen[0] == "up"

    served(body)
    deadline = time.monotonic() + 60
    while lab("kernel", "status", "--json").json["kernel"]["state"] != "idle":
        assert time.monotonic() < deadline
    assert lab("run", "-m", "kernel", "print('free')").out == "free\n"


def test_without_the_extra(cli: Cli, tmp_path: Path) -> None:
    """The missing extra is named."""
    (tmp_path / "mcp_types.py").write_text("raise ImportError('gone', name='mcp')")
    result = cli("mcp", "--json", env={"PYTHONPATH": str(tmp_path)})
    assert (result.json["errorCode"], result.code) == (2009, 78)
    assert "lecoder-cgpu[mcp]" in result.json["error"]["suggestion"]
