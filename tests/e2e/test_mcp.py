"""The MCP server, spoken to by the SDK's own client over a real pipe."""

from __future__ import annotations

import base64
import io
import json
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import anyio
import mcp_types as types
import nbformat
import pytest
from mcp import Client as McpClient
from mcp import StdioServerParameters
from mcp.client.stdio import stdio_client
from PIL import Image
from pydantic import FileUrl

from tests.contract.test_documents import validate
from tests.support.cli import Cli
from tests.support.wait import wait_until


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
    """The document of a tool's answer that is no error."""
    result = await client.call_tool(name, arguments)
    assert not result.is_error, result
    return document_of(result)


def document_of(result: types.CallToolResult) -> Any:
    """The document of any answer: once, as text."""
    assert result.structured_content is None
    (text,) = [item for item in result.content if item.type == "text"]
    return json.loads(text.text)


def test_the_tools(served: Any) -> None:
    """A static list, each with schemas and with annotations for what spends and what destroys."""

    async def body(client: McpClient) -> None:
        listed = await client.list_tools()
        tools = {tool.name: tool for tool in listed.tools}
        assert len(tools) <= 16
        assert len(listed.model_dump_json(by_alias=True, exclude_none=True)) <= 12_000
        assert all(tool.input_schema["type"] == "object" for tool in tools.values())
        hints = {name: tool.annotations for name, tool in tools.items()}
        assert all(hint is not None for hint in hints.values())
        assert {name for name, hint in hints.items() if hint is not None and hint.read_only_hint} == {
            "status", "job_wait", "job_logs", "history", "files"
        }  # fmt: skip
        assert {name for name, hint in hints.items() if hint is not None and not hint.destructive_hint} == {
            "status", "job_wait", "job_logs", "history", "files", "ensure"
        }  # fmt: skip

    served(body)


def test_running(served: Any) -> None:
    """The documents are those of --json; state stays; what fails is marked as an error with its document."""

    async def body(client: McpClient) -> None:
        (runtime,) = (await answer(client, "status"))["runtimes"]
        assert "gpu" not in runtime  # gpus says it
        assert set(runtime["host"]["memory"]) == {"totalBytes", "usedBytes", "freeBytes"}
        await answer(client, "run", code="x = 20")
        document = await answer(client, "run", code="print(x + 1)")
        validate(document, "run")
        assert document["stdout"] == "21\n"
        assert (await answer(client, "run", command="echo hi"))["stdout"] == "hi\n"
        failed = await client.call_tool("run", {"code": "1/0"})
        assert failed.is_error
        assert document_of(failed)["errorCode"] == 1002
        for wrong in ({}, {"code": "1", "command": "ls"}, {"code": "1", "nonsense": 1}, {"code": "1", "wait": 100}):
            refused = await client.call_tool("run", wrong)
            assert refused.is_error
            validate(document_of(refused), "failure")
            assert document_of(refused)["errorCode"] == 2006
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
        assert (await answer(client, "close", session="train"))["closed"][0]["released"] == "runtime"
        assert (await answer(client, "close", all=True))["closed"] == []

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
        assert document_of(missing)["errorCode"] == 2005

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
            assert document_of(refused)["error"]["name"] in ("OutsideRoots", "OwnFolder")
        assert not (tmp_path / "out.txt").exists()
        nul = document_of(await client.call_tool("push", {"sources": ["in.txt\0"]}))
        assert (nul["errorCode"], "NUL" in nul["error"]["message"]) == (2006, True)

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
        assert document_of(found)["truncated"]["errorBytes"] > 6_000_000
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
        killed = await answer(client, "job_kill", job=job)
        assert (killed["errorCode"], killed["sent"], killed["job"]["id"]) == (0, True, job)
        ended = await client.call_tool("job_wait", {"job": job, "stdout_offset": 6})
        assert ended.is_error
        found = document_of(ended)
        assert (found["exitCode"], found["errorCode"], found["stdout"]) == (143, 1002, "")
        assert found["error"]["name"] == "Stopped"
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
        assert len(str(document_of(result))) < 10_000

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


def test_every_byte_can_be_read(served: Any) -> None:
    """Long output, range by range, and from where a wait has stopped: at lines, and never half a character."""

    async def body(client: McpClient) -> None:
        text = "".join(f"línea {number}\n" for number in range(3000)) + "é" * 5000
        code = "print(''.join(f'línea {n}\\n' for n in range(3000)) + 'é' * 5000, end='')"
        job = (await answer(client, "run", code=code))["runId"]
        for tool, name, size, following in (
            ("job_logs", "text", "limit", "nextOffset"),
            ("job_wait", "stdout", "max_output", "stdoutOffset"),
        ):
            found, offset = "", 0
            while offset < len(text.encode()):
                key = "offset" if tool == "job_logs" else "stdout_offset"
                piece = await answer(client, tool, **{"job": job, key: offset, size: 9001})
                assert piece[name]
                assert piece[name].endswith("\n") or offset + 9001 > len(text.encode()) - 10_100
                found, offset = found + piece[name], piece[following]
            assert found == text
        tail = await answer(client, "job_logs", job=job, offset=-10, limit=4)
        assert (tail["text"], tail["nextOffset"] - tail["offset"]) == ("éé", 4)

    served(body)


def test_calls_at_once_keep_their_order(served: Any) -> None:
    """Each sees what those before it have done, though they were sent without waiting."""

    async def body(client: McpClient) -> None:
        await answer(client, "run", code="order = []")
        async with anyio.create_task_group() as group:
            for number in range(6):
                group.start_soon(client.call_tool, "run", {"code": f"order.append({number})"})
        assert (await answer(client, "run", code="print(order)"))["stdout"] == "[0, 1, 2, 3, 4, 5]\n"

    served(body)


def test_the_session_stays(lab: Cli, tmp_path: Path) -> None:
    """Another program that makes another session the active one changes nothing here."""

    async def body(client: McpClient) -> None:
        used = (await answer(client, "run", code="here = 1"))["session"]["name"]
        await anyio.to_thread.run_sync(lambda: lab("sessions", "add", "other", "--backend", "local"))
        try:
            found = await answer(client, "run", code="print(here)")
            assert (found["session"]["name"], found["stdout"]) == (used, "1\n")
        finally:
            await anyio.to_thread.run_sync(lambda: lab("sessions", "close", "other"))
            await anyio.to_thread.run_sync(lambda: lab("sessions", "switch", used))

    serve(lab, body)


def test_notebooks_history_and_kernels(lab: Cli, tmp_path: Path) -> None:
    """What is not code or a command: each has a tool, and suggestions name tools."""
    cells = [
        nbformat.v4.new_code_cell("x = 1", metadata={"tags": ["parameters"]}),
        nbformat.v4.new_code_cell("1 / (x - 5)"),
    ]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "in.ipynb")

    async def body(client: McpClient) -> None:
        done = await answer(client, "notebook", path=str(tmp_path / "in.ipynb"), parameters={"x": 6})
        assert nbformat.read(done["output"], 4).cells[-1].outputs[0]["data"]["text/plain"] == "1.0"
        failed = await client.call_tool("notebook", {"path": str(tmp_path / "in.ipynb"), "parameters": {"x": 5}})
        assert failed.is_error
        assert document_of(failed)["error"]["name"] == "ZeroDivisionError"
        newest = (await answer(client, "history", status="error", limit=1))["runs"][0]
        assert newest["command"].startswith("notebook ")
        assert (await answer(client, "history", run=newest["runId"]))["run"]["runId"] == newest["runId"]
        jobs = (await answer(client, "status", of="jobs"))["jobs"]
        assert newest["runId"] in [job["id"] for job in jobs]
        assert (await answer(client, "kernel", action="restart"))["action"] == "restarted"
        assert (await answer(client, "kernel", action="list"))["kernels"]
        assert "entries" in await answer(client, "files")
        lost = document_of(await client.call_tool("job_wait", {"job": "run-nothing"}))
        assert lost["error"]["suggestion"].startswith("the tool status with of=jobs")

    serve(lab, body, allow=[tmp_path])


def test_a_signal_ends_the_server_and_its_work(lab: Cli) -> None:
    """Within two seconds, though stdin stays open; what it had running is interrupted."""
    server = lab.start("mcp", stdin=subprocess.PIPE)
    assert server.stdin is not None
    assert server.stdout is not None

    def send(**message: Any) -> None:
        assert server.stdin is not None
        server.stdin.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
        server.stdin.flush()

    client = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
    send(id=1, method="initialize", params=client)
    server.stdout.readline()
    send(method="notifications/initialized")
    code = f"import time\nopen({str(lab.home / 'up')!r}, 'w').close()\ntime.sleep(300)"
    send(id=2, method="tools/call", params={"name": "run", "arguments": {"code": code}})
    wait_until((lab.home / "up").exists)
    began = time.monotonic()
    server.terminate()
    server.wait(30)
    took = time.monotonic() - began
    server.communicate()
    assert server.returncode == 143
    assert took < 5  # it is below two seconds where nothing else runs
    wait_until(lambda: lab("kernel", "status", "--json").json["kernel"]["state"] == "idle")


def test_a_client_that_goes_away(lab: Cli) -> None:
    """In the middle of a call, with both pipes: the server ends without a complaint, and so does its work."""
    server = lab.start("mcp", stdin=subprocess.PIPE)
    assert server.stdin is not None
    assert server.stdout is not None
    up = lab.home / "up-again"
    code = f"import time\nopen({str(up)!r}, 'w').close()\ntime.sleep(300)"
    client = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
    for message in (
        {"id": 1, "method": "initialize", "params": client},
        {"method": "notifications/initialized"},
        {"id": 2, "method": "tools/call", "params": {"name": "run", "arguments": {"code": code}}},
    ):
        server.stdin.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
        server.stdin.flush()
    wait_until(up.exists)
    server.stdout.close()
    server.stdin.write(b'{"jsonrpc": "2.0", "id": 3, "met')
    server.stdin.close()
    assert server.stderr is not None
    assert (server.wait(30), server.stderr.read()) == (0, b"")
    server.stderr.close()
    wait_until(lambda: lab("kernel", "status", "--json").json["kernel"]["state"] == "idle")


def test_a_client_that_waits_no_longer(lab: Cli) -> None:
    """A server whose stdin is closed ends, though a call that was cancelled waits for a job; the job goes on."""
    job = lab("run", "--detach", "--json", "sleep 60").json["jobId"]
    server = lab.start("mcp", stdin=subprocess.PIPE)
    assert server.stdin is not None
    client = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
    for message in (
        {"id": 1, "method": "initialize", "params": client},
        {"method": "notifications/initialized"},
        {"id": 2, "method": "tools/call", "params": {"name": "job_wait", "arguments": {"job": job}}},
        {"id": 3, "method": "tools/call", "params": {"name": "status", "arguments": {"of": "jobs"}}},
        {"method": "notifications/cancelled", "params": {"requestId": 2}},
        {"id": 4, "method": "tools/call", "params": {"name": "status", "arguments": {"of": "jobs"}}},
    ):
        server.stdin.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
        server.stdin.flush()
    assert server.stdout is not None
    while json.loads(server.stdout.readline()).get("id") != 4:
        pass
    server.stdin.close()
    server.stdin = None
    server.communicate(timeout=20)
    assert server.returncode == 0
    assert lab("job", "kill", job, "--json").json["sent"] is True
