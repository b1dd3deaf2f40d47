"""What the fake Colab's VMs have beside a stock Jupyter server: `google.colab`, a terminal, a way to end themselves."""

from __future__ import annotations

import json
import os
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from lecoder_cgpu.testing.colab import FakeColab
from tests.support.google import User, call

Reply = Callable[[str, Any], dict[str, Any] | None]


class Kernel:
    """A kernel on a VM, spoken to as the web page does."""

    def __init__(self, proxy: dict[str, Any]) -> None:
        header = {"X-Colab-Runtime-Proxy-Token": proxy["token"]}
        body = {"path": "content/test.ipynb", "name": "test", "type": "notebook", "kernel": {"name": "python3"}}
        session = call("POST", proxy["url"] + "/api/sessions", header, json.dumps(body).encode()).json
        self.session = uuid.uuid4().hex
        self._header = header
        self._model = f"{proxy['url']}/api/kernels/{session['kernel']['id']}"
        place = f"ws{proxy['url'].removeprefix('http')}/api/kernels/{session['kernel']['id']}/channels"
        self._address = f"{place}?session_id={self.session}"
        self._stack = ExitStack()
        self.reconnect()

    def reconnect(self) -> None:
        """Open a socket, and another one when that was lost, always with the same session id."""
        self.close()
        self._socket = self._stack.enter_context(
            connect(
                self._address,
                additional_headers=self._header,
                proxy=None,
                max_size=None,
                open_timeout=60,
                close_timeout=1,
            )
        )

    def close(self) -> None:
        self._stack.close()

    def wait(self, key: str, value: Any) -> None:
        """Wait until the server says that of the kernel."""
        deadline = time.monotonic() + 60
        while call("GET", self._model, self._header).json[key] != value:
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def send(self, channel: str, kind: str, content: dict[str, Any]) -> str:
        number = uuid.uuid4().hex
        header = {
            "msg_id": number,
            "msg_type": kind,
            "session": self.session,
            "username": "username",
            "version": "5.0",
            "date": "2026-01-01T00:00:00Z",
        }
        self._socket.send(
            json.dumps({"channel": channel, "header": header, "parent_header": {}, "metadata": {}, "content": content})
        )
        return number

    def start(self, code: str) -> str:
        """Send code and return its request's number."""
        content = {"code": code, "allow_stdin": True, "silent": False, "store_history": True, "user_expressions": {}}
        return self.send("shell", "execute_request", content | {"stop_on_error": True})

    def receive(self, timeout: float = 60) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(self._socket.recv(timeout))
        return message

    def run(self, code: str, reply: Reply = lambda kind, request: None) -> str:
        """Run code to its end and return what it printed, or the exception. `reply` gives what a client would."""
        number = self.start(code)
        printed = ""
        ended: set[str] = set()
        while ended != {"idle", "reply"}:
            message = self.receive()
            kind, content = message["header"]["msg_type"], message["content"]
            if kind == "colab_request":
                asked = message["metadata"]
                assert message["parent_header"]["msg_id"] == number
                answer = reply(asked["colab_request_type"], content["request"])
                if answer is not None:
                    value = {"type": "colab_reply", "colab_msg_id": asked["colab_msg_id"], **answer}
                    self.send("stdin", "input_reply", {"value": "typed meanwhile"})  # is thrown away
                    self.send("stdin", "input_reply", {"value": value})
            elif kind == "stream":
                printed += content["text"]
            elif kind == "error":
                printed += f"{content['ename']}: {content['evalue']}"
            elif kind == "execute_reply":
                ended.add("reply")
            elif kind == "status" and message["parent_header"].get("msg_id") == number:
                ended |= {content["execution_state"]} & {"idle"}
        return printed.strip()

    def rest(self, last: str, timeout: float = 60) -> str:
        """What comes until `last` is printed, which other code does later."""
        seen = ""
        number = self.start(f"print({last!r})")
        while last not in seen:
            message = self.receive(timeout)
            seen += message["content"].get("text", "")
        while self.receive()["parent_header"].get("msg_id") != number:
            pass
        return seen


PINNED = os.environ.get("LECODER_CGPU_TEST_COLAB_PYTHON")


@pytest.fixture(scope="module", params=["ours", "pinned"])
def vm(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[FakeColab, dict[str, Any], Kernel]]:
    """A fake Colab with a VM and a kernel on it, shared by the tests of this module; also with Colab's versions."""
    if request.param == "pinned" and not PINNED:
        pytest.skip("LECODER_CGPU_TEST_COLAB_PYTHON names no interpreter with Colab's versions")
    python = PINNED if request.param == "pinned" else None
    with FakeColab(tmp_path_factory.mktemp("colab"), python=python or sys.executable) as colab:
        proxy = User(colab).assign(variant="GPU", accelerator="T4").json["runtimeProxyInfo"]
        with closing(Kernel(proxy)) as kernel:
            yield colab, proxy, kernel


def test_drive_needs_consent_and_reply(vm: tuple[FakeColab, dict[str, Any], Kernel]) -> None:
    """A mount works once the VM has credentials; a refusal is an exception, silence a failed mount after 120 s."""
    colab, _, kernel = vm
    mount = "from google.colab import drive\ndrive.mount('/content/drive')"
    seen = []

    def refuse(kind: str, request: Any) -> dict[str, Any]:
        seen.append((kind, request))
        return {"error": "no consent"}

    assert kernel.run(mount, refuse) == "MessageError: no consent"
    assert seen == [("request_auth", {"authType": "dfs_ephemeral"})]
    assert kernel.run(mount, lambda kind, request: {}) == "ValueError: mount failed"
    colab.call(colab.vm.propagated.add, "dfs_ephemeral")
    assert kernel.run(mount, lambda kind, request: {}) == "Mounted at /content/drive"
    assert (colab.vm.machine.root / "content" / "drive" / "MyDrive").is_dir()
    colab.call(colab.vm.propagated.clear)
    colab.switches.idle_limit = 1e9

    def wait(kind: str, request: Any) -> None:
        colab.advance(121)

    assert kernel.run(mount, wait) == "ValueError: mount failed"


def test_secrets_and_scripts(vm: tuple[FakeColab, dict[str, Any], Kernel]) -> None:
    """A secret is the client's to give; JavaScript is refused or, without an id, not waited for."""
    _, _, kernel = vm
    secret = "from google.colab import userdata\nprint(userdata.get('KEY'))"
    given = {"exists": True, "access": True, "payload": "s3cret"}
    assert kernel.run(secret, lambda kind, request: {"data": given}) == "s3cret"
    answer = kernel.run(secret, lambda kind, request: {"data": {"exists": False}})
    assert answer.startswith("SecretNotFoundError")
    script = "from google.colab import output\noutput.eval_js('1', ignore_result=True)\nprint('on')"
    assert kernel.run(script) == "on"
    script = "from google.colab import output\noutput.eval_js('1')"
    assert kernel.run(script, lambda kind, request: {"error": "no browser"}) == "MessageError: no browser"
    account = "from google.colab import auth\nauth.authenticate_user()"
    assert kernel.run(account, lambda kind, request: {"error": "no"}) == "MessageError: no"


def test_kernels_are_listed(vm: tuple[FakeColab, dict[str, Any], Kernel]) -> None:
    """Python, R and Julia, with Python as the default."""
    _, proxy, _ = vm
    listed = call("GET", proxy["url"] + "/api/kernelspecs", {"X-Colab-Runtime-Proxy-Token": proxy["token"]}).json
    languages = {name: row["spec"]["language"] for name, row in listed["kernelspecs"].items()}
    assert listed["default"] == "python3"
    assert languages.items() >= {"python3": "python", "ir": "r", "julia": "julia"}.items()


def test_a_gpu_is_there(vm: tuple[FakeColab, dict[str, Any], Kernel]) -> None:
    """A VM with a GPU has an nvidia-smi that knows it, and a content folder of its own."""
    _, _, kernel = vm
    query = "nvidia-smi --query-gpu=name,memory.total --format=csv,noheader,nounits"
    assert kernel.run(f"import subprocess\nprint(subprocess.getoutput('{query}'))") == "Tesla T4, 15360"
    assert kernel.run("import os\nprint(os.path.basename(os.getcwd()), os.listdir())").startswith("content [")


def test_a_vm_ends_itself(colab: FakeColab) -> None:
    """`google.colab.runtime.unassign()` releases the VM that it is called on."""
    proxy = User(colab).assign().json["runtimeProxyInfo"]
    with closing(Kernel(proxy)) as kernel:
        with pytest.raises(ConnectionClosed):
            kernel.run("import time\nfrom google.colab import runtime\nruntime.unassign()\ntime.sleep(60)")
    assert not colab.vms
    assert "assignments" not in User(colab)("GET", "/tun/m/assignments").json


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such terminals there")
def test_the_terminal_belongs_to_the_last_connection(vm: tuple[FakeColab, dict[str, Any], Kernel]) -> None:
    """A new connection takes the screen from the one before it; Ctrl-D is swallowed, and `exit` ends the shell."""
    colab, proxy, _ = vm
    address = f"ws{proxy['url'].removeprefix('http')}/colab/tty"
    header = {"X-Colab-Runtime-Proxy-Token": proxy["token"]}
    with connect(address, additional_headers=header, proxy=None, close_timeout=1) as first:
        first.send(json.dumps({"cols": 100, "rows": 30}))
        first.send(json.dumps({"data": "stty size; echo $((40+2))-$(basename $PWD)\n"}))
        seen = read_until(first, "42-content")
        assert "30 100" in seen
        query = f"{address}?colab-runtime-proxy-token={proxy['token']}"
        with connect(query, proxy=None, close_timeout=1) as second:
            assert "42-content" in read_until(second, "42-content")
            second.send("no JSON")
            read_until(first, "[detached")
            with pytest.raises(ConnectionClosed):
                first.recv(60)
            second.send(json.dumps({"data": "\x04echo $((50+1))\n"}))
            read_until(second, "51")
            second.send(json.dumps({"data": "exit\n"}))
            with pytest.raises(ConnectionClosed):
                read_until(second, "nothing like this")
    with connect(address, additional_headers=header, proxy=None, close_timeout=1) as again:
        again.send(json.dumps({"data": "echo $((60+1))\n"}))
        assert "42-content" not in read_until(again, "61")
    with pytest.raises(InvalidStatus):
        connect(address, proxy=None).__enter__()
    assert colab.count("GET /colab/tty") >= 4


def read_until(socket: Any, text: str) -> str:
    """What a terminal shows until `text` is there."""
    seen = ""
    while text not in seen:
        seen += json.loads(socket.recv(60))["data"]
    return seen


def test_a_lost_socket_and_its_buffer(vm: tuple[FakeColab, dict[str, Any], Kernel]) -> None:
    """Who comes back with the same session id gets what was printed meanwhile, unless the buffer was lost."""
    colab, _, kernel = vm
    slow = "import os, time\nwhile not os.path.exists('go'):\n    time.sleep(0.05)\nos.remove('go')\nprint('unseen')"
    for lose_buffer in (False, True):
        kernel.start(slow)
        while kernel.receive()["header"]["msg_type"] != "execute_input":
            pass
        assert colab.drop_sockets(lose_buffer=lose_buffer) == 1
        kernel.wait("connections", 0)  # the server has noticed
        (colab.vm.machine.root / "content" / "go").touch()
        kernel.wait("execution_state", "idle")  # what was printed has reached the server
        kernel.reconnect()
        assert ("unseen" in kernel.rest("later")) is not lose_buffer


def test_answers_of_a_vm_can_be_changed(vm: tuple[FakeColab, dict[str, Any], Kernel]) -> None:
    """Faults reach what is behind the proxy too: a field less, a lost answer, a refusal of what is too large."""
    colab, proxy, _ = vm
    header = {"X-Colab-Runtime-Proxy-Token": proxy["token"]}
    colab.fail("proxy:GET /api/colab/resources", patch={"gpus": None})
    shown = call("GET", proxy["url"] + "/api/colab/resources", header)
    assert shown.body.startswith(b")]}'\n{")
    assert "gpus" not in shown.json
    assert "gpus" in call("GET", proxy["url"] + "/api/colab/resources", header).json
    colab.fail("PUT /api/contents/*", status=413)
    assert call("PUT", proxy["url"] + "/api/contents/content/x", header, b"{}").status == 413
    colab.fail("POST /api/kernels", lose=True)
    before = len(call("GET", proxy["url"] + "/api/kernels", header).json)
    with pytest.raises(OSError):
        call("POST", proxy["url"] + "/api/kernels", header, b"{}")
    assert len(call("GET", proxy["url"] + "/api/kernels", header).json) == before + 1


def test_a_kernel_starts_when_somebody_attaches(vm: tuple[FakeColab, dict[str, Any], Kernel]) -> None:
    """With that switch, REST says `starting` until a socket has been opened."""
    colab, proxy, kernel = vm
    colab.switches.starting_until_attached = True
    colab.vm.attached = False
    header = {"X-Colab-Runtime-Proxy-Token": proxy["token"]}
    sessions = call("GET", proxy["url"] + "/api/sessions", header).json
    assert {session["kernel"]["execution_state"] for session in sessions} == {"starting"}
    kernel.reconnect()
    kernel.wait("execution_state", "idle")
    colab.switches.starting_until_attached = False


def test_an_idle_socket_is_forgotten(vm: tuple[FakeColab, dict[str, Any], Kernel]) -> None:
    """The proxy passes nothing on after a long silence, and does not say so."""
    colab, _, kernel = vm
    colab.switches.idle_cut = 0.1
    kernel.wait("connections", 0)
    with pytest.raises(TimeoutError):
        kernel.rest("somebody", timeout=2)
    colab.switches.idle_cut = 80.0
    kernel.reconnect()
    assert kernel.run("print('again')") == "again"


def test_traffic_may_be_what_keeps_a_vm(colab: FakeColab) -> None:
    """With that switch pings do nothing, and a socket that is used does."""
    user = User(colab)
    colab.switches.activity, colab.switches.keep_alive = "socket", "empty"
    proxy = user.assign().json["runtimeProxyInfo"]
    with closing(Kernel(proxy)) as kernel:
        for _ in range(2):
            colab.advance(400)
            kernel.run("pass")
        endpoint = colab.vm.endpoint
        colab.advance(400)
        assert user("GET", f"/tun/m/{endpoint}/keep-alive/", headers={"X-Colab-Tunnel": "Google"}).status == 200
        colab.advance(100)
    assert not colab.vms
