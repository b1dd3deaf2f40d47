"""The same code by command line, by library and by the tools for agents: one document, whatever the kernel sends."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from mcp import Client as McpClient

from lecoder_cgpu import Client, Session
from lecoder_cgpu.jupyter.endpoint import Endpoint
from lecoder_cgpu.jupyter.server import Server
from tests.e2e.test_mcp import serve
from tests.support.cli import Cli
from tests.support.servers import JupyterServer
from tests.support.wait import wait_until

RAW = "from ipykernel.kernelapp import IPKernelApp\nk = IPKernelApp.instance().kernel\n"
SEND = (  # any JSON as a message, of which ipykernel itself would refuse most
    f"{RAW}import json\ndef send(kind, content):\n"
    "    parts = [json.dumps(part).encode() for part in (dict(k.session.msg_header(kind), date=''), "
    "dict(k.get_parent()['header'], date=''), {}, content)]\n"
    "    k.iopub_socket.send_multipart([b'x', b'<IDS|MSG>', k.session.sign(parts), *parts])\n"
)

# What is sent, and fields that every way has to show.
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "a failing group": ("raise ExceptionGroup('g', [ValueError(1)])", {"status": "error", "exitCode": 1}),
    "a handled error": (
        "try: 1/0\nexcept ZeroDivisionError: get_ipython().showtraceback()\nprint('on')",
        {"status": "ok", "stdout": "on\n"},
    ),
    "several errors": (
        "for i in (1, 2):\n    try: raise ValueError(i)\n    except ValueError: get_ipython().showtraceback()\n1/0",
        {"status": "error", "errorCode": 1002},
    ),
    "a number": ("import sys; sys.exit(3)", {"status": "error", "exitCode": 3}),
    "no UTF-8": ("print('caf\\udce9'); 7", {"stdout": "caf\ufffd\n", "outputComplete": True}),
    "an error without UTF-8": ("raise ValueError('caf\\udce9')", {"status": "error", "errorCode": 1002}),
    "a raising repr": (
        "class A:\n    def __repr__(self): raise RuntimeError('in repr')\nprint('x')\nA()",
        {"status": "error", "stdout": "x\n", "outputComplete": True},
    ),
    "a display without data": (f"{SEND}send('display_data', {{'data': {{}}, 'metadata': {{}}}})", {"status": "ok"}),
    "displays of odd kinds": (
        "from IPython.display import display\n"
        "display({'application/x-odd+json': [1, {'a': None}], 'text/plain': ''}, raw=True)\n"
        "display({'': 'nameless', 'text/plain': 'y', '../x': 'path'}, raw=True)",
        {"status": "ok", "outputComplete": True},
    ),
    "messages of odd shapes": (
        f"{SEND}for content in ([], 7, None, {{'name': 3}}, {{'name': 'stdout', 'text': ['a', 'b']}}, {{'name': 'x', "
        "'text': 'y'}):\n    send('stream', content)\nfor kind in ('display_data', 'error', 'clear_output', 'odd', "
        "'comm_msg', 'comm_open', 'execute_result', 'update_display_data'):\n    send(kind, {'data': 7, 'ename': [], "
        "'traceback': 'text', 'comm_id': {}})\nprint('after')",
        {"status": "ok"},
    ),
    "a deep message": (
        f"{SEND}deep = []\nfor _ in range(400): deep = [deep]\nsend('display_data', {{'data': {{'a/b': deep}}, "
        "'metadata': {}})\nprint('after')",
        {"status": "ok", "stdout": "after\n"},
    ),
    "a line drawn again": (
        "print('\\x1b[31mloading 100%\\x1b[0m\\r\\x1b[Kdone'); print('abc\\b\\bX')",
        {"stdout": "done\naXc\n"},
    ),
    "a line cleared": (
        "from IPython.display import clear_output\nprint('a'); clear_output(); print('b')",
        {"stdout": "b\n"},
    ),
    "bytes beneath": ("import os; os.write(1, b'low\\n'); None", {"stdout": "low\n", "outputComplete": True}),
    "a child's words": ("import subprocess; subprocess.run('echo child', shell=True); None", {"stdout": "child\n"}),
    "a shell that failed": ("!exit 3", {"status": "ok", "shellExit": 3}),
    "words of a thread": (
        "import threading\nt = threading.Thread(target=lambda: print('thread')); t.start(); t.join()",
        {"stdout": "thread\n"},
    ),
    "a long way down": ("def f(n): return f(n - 1) if n else 1 / 0\nf(30)", {"status": "error", "errorCode": 1002}),
    "captured by a widget": (
        "import ipywidgets as w\nprint('header')\nout = w.Output()\nwith out:\n    print('gone'); out.clear_output()\n"
        "    print('kept')\nprint('end')",
        {"status": "ok", "stdout": "header\nkept\nend\n", "outputComplete": True},
    ),
    "much text": ("print('x' * 100_000)", {"status": "ok", "outputComplete": True}),
    "a long message": ("raise ValueError('x' * 3_000_000)", {"status": "error", "errorCode": 1002}),
    "a false verdict": (
        f"{SEND}send('status', {{'execution_state': 'busy'}}); send('error', {{'ename': 'E', 'evalue': 'v', "
        "'traceback': []})\nprint('on')",
        {"status": "ok", "stdout": "on\n"},
    ),
}
SAME = ("status", "errorCode", "exitCode", "stdout", "outputComplete", "shellExit", "passedOver", "order")


@pytest.fixture(scope="module")
def session(lab: Cli) -> Iterator[Session]:
    """The session of the command line, in the library."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LECODER_CGPU_CONFIG_DIR", str(lab.home / "config"))
        patch.setenv("LECODER_CGPU_KEEPER", "off")
        yield Client("jupyter").session()


def test_every_way_tells_the_same(lab: Cli, session: Session) -> None:
    """Verdict, text, shown exceptions and completeness, of every kind of thing that a kernel may send."""
    found: dict[str, Any] = {}

    async def by_tools(client: McpClient) -> None:
        for name, (code, _) in KINDS.items():
            result = await client.call_tool("run", {"code": code})
            (text, *_) = result.content
            assert text.type == "text"
            assert len(text.text) < 50_000, name
            found[name] = json.loads(text.text)
            assert result.is_error == (found[name]["status"] == "error"), name

    serve(lab, by_tools)
    for name, (code, expected) in KINDS.items():
        library = msgspec.to_builtins(session.run(code, max_output=8192))
        for way in (library, found[name]):
            assert {key: way.get(key) for key in expected} == expected, (name, way)
        for key in SAME:
            assert found[name].get(key) == library.get(key), (name, key, found[name], library)
        for document in (library, found[name]):
            assert [error["name"] for error in document.get("shownErrors", [])] == {
                "a handled error": ["ZeroDivisionError"],
                "several errors": ["ValueError", "ValueError"],
                "a false verdict": ["E"],
            }.get(name, [error["name"] for error in document.get("shownErrors", [])]), name
    for name, (code, _) in KINDS.items():
        printed = lab("run", "-m", "kernel", "--json", "--max-output", "8192", code).json
        assert {key: printed.get(key) for key in SAME} == {key: found[name].get(key) for key in SAME}, name
        assert sorted(printed.get("truncated", {}).keys() - {"get"}) == sorted(
            found[name].get("truncated", {}).keys() - {"get"}
        ), name


def test_the_order_of_outputs(lab: Cli, tmp_path: Path) -> None:
    """A document that was asked for it tells in which order everything was shown."""
    code = (
        "import sys\nprint('a', flush=True); print('bc', file=sys.stderr, flush=True); print('d', flush=True)\n"
        "display({'text/plain': 'x'}, raw=True)\ntry: 1/0\nexcept ZeroDivisionError: get_ipython().showtraceback()\n1/0"
    )
    document = lab("run", "-m", "kernel", "--order", "--json", code).json
    assert document["order"] == [
        {"of": "stdout", "bytes": 2},
        {"of": "stderr", "bytes": 3},
        {"of": "stdout", "bytes": 2},
        {"of": "display", "index": 0},
        {"of": "error", "index": 0},
        {"of": "error"},
    ]
    again = lab("run", "--attach", document["runId"], "--order", "--json").json
    assert again["order"] == document["order"]
    command = "echo a; sleep 0.2; echo bc >&2; sleep 0.2; echo d"
    pieces = lab("run", "--order", "--json", command).json["order"]
    assert [(piece["of"], piece["bytes"]) for piece in pieces] == [("stdout", 2), ("stderr", 3), ("stdout", 2)]
    assert "order" not in lab("run", "--json", "echo a").json


def test_a_script_finds_its_arguments(lab: Cli, tmp_path: Path) -> None:
    """Watched or left alone, as `python FILE ARGS` sets them; afterwards they are what they were."""
    script = tmp_path / "x.py"
    script.write_text("import sys\nprint(sys.argv[1:], __file__)")
    before = lab("run", "-m", "kernel", "import sys; print(sys.argv)").out
    expected = f"['a', '--json'] {script}\n"
    assert lab("run", "-m", "kernel", "-f", str(script), "--", "a", "--json").out == expected
    job = lab("run", "-m", "kernel", "--detach", "-f", str(script), "--", "a", "--json").out.strip()
    assert lab("job", "wait", job, "--timeout", "60").code == 0
    assert lab("job", "logs", job).out == expected
    assert lab("run", "-m", "kernel", "import sys; print(sys.argv)").out == before


def test_a_server_that_has_missed_the_end(lab: Cli, jupyter: JupyterServer) -> None:
    """A kernel that does what it is asked is not busy, whatever its server believes."""
    lie = "k.session.send(k.iopub_socket, 'status', {'execution_state': 'busy'}, parent=parent)"
    code = f"{RAW}import threading\nparent = k.get_parent()\nthreading.Timer(0.5, lambda: {lie}).start()"
    assert lab("run", "-m", "kernel", code).code == 0
    (known,) = json.loads((lab.state / "sessions.json").read_text())
    server = Server(Endpoint(url=jupyter.url, token=jupyter.token))
    wait_until(lambda: server.kernel(known["kernel"]["id"]).execution_state == "busy")
    assert lab("kernel", "status", "--json").json["kernel"]["state"] == "idle"
    busy = lab.start("run", "-m", "kernel", "--events", "print(1, flush=True)\nimport time; time.sleep(60)")
    assert busy.stdout is not None
    busy.stdout.readline()
    assert lab("kernel", "status", "--json").json["kernel"]["state"] == "busy"
    busy.terminate()
    busy.communicate(timeout=60)
