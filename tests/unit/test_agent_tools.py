"""The tools of coding agents: what they accept, how a call is cancelled, and what becomes of images."""

from __future__ import annotations

import base64
import io
import json
import threading
from pathlib import Path
from typing import Any

import jsonschema
import mcp_types as types
import pytest
from msgspec import Struct
from PIL import Image
from pydantic import ValidationError

from lecoder_cgpu import Client, errors
from lecoder_cgpu.agents import answers, mcp, places, stdio, work_tools
from lecoder_cgpu.agents.arguments import FilesArguments
from lecoder_cgpu.agents.desk import Call
from lecoder_cgpu.agents.order import Queue, Turn
from lecoder_cgpu.agents.tools import TOOLS, Tool, call_tool
from lecoder_cgpu.models.base import ErrorInfo
from lecoder_cgpu.models.runs import Run


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """A call of somebody who has no session."""
    monkeypatch.setenv("LECODER_CGPU_CONFIG_DIR", str(tmp_path))
    return Call(Client("local"))


def tool(name: str) -> Tool:
    return next(item for item in TOOLS if item.name == name)


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("run", {}, "either code or command"),
        ("run", {"code": "1", "command": "true"}, "either code or command"),
        ("run", {"code": "1", "wait": 41}, "wait"),
        ("run", {"code": "1", "shell": True}, "shell"),
        ("run", {"code": 7}, "code"),
        ("run", {"code": "1", "max_output": 1}, "max_output"),
        ("push", {"sources": []}, "sources"),
        ("job_wait", {}, "job"),
        ("job_wait", {"job": "run-1", "stdout_offset": -1}, "stdout_offset"),
        ("job_wait", {"job": "run-1", "signal": "SIGTERM"}, "signal"),
        ("job_kill", {"job": "run-1", "signal": "SIGFOO"}, "SIGFOO"),
        ("job_logs", {"job": "run-1", "limit": 0}, "limit"),
        ("kernel", {"action": "burn"}, "burn"),
        ("notebook", {}, "either path or job"),
        ("notebook", {"path": "x.ipynb", "job": "run-1"}, "either path or job"),
        ("notebook", {"path": "/etc/passwd"}, "outside"),
        ("sync", {"local": "/etc", "remote": "x"}, "outside"),
        ("history", {"status": "fine"}, "fine"),
        ("close", {}, "session"),
        ("close", {"session": "x", "all": True}, "session"),
        ("install", {"packages": ["numpy", "--index-url=https://x"]}, "option of pip"),
        ("install", {"packages": ["-rrequirements.txt"]}, "option of pip"),
        ("install", {"packages": ["numpy --extra-index-url https://x"]}, "option of pip"),
        ("push", {"sources": ["/etc/passwd"]}, "outside"),
        ("push", {"sources": ["x/../../../../etc/*"]}, "outside"),
        ("pull", {"sources": ["x"], "target": "/tmp/"}, "outside"),
        ("status", {"verbose": True}, "verbose"),
        ("push", {"sources": ["a\0"]}, "sources has a NUL"),
        ("run", {"code": "\ud800"}, "code is no text"),
        ("status", {"\ud800": 1}, "is no text"),
        ("run", {"code": "1", "x" * 100_000: 1}, "x…x"),
    ],
)
def test_arguments_that_do_not_fit(call: Call, name: str, arguments: dict[str, Any], said: str) -> None:
    """They are refused before anything is asked for, with a hint."""
    with pytest.raises(errors.UsageError, match=said) as raised:
        call_tool(tool(name), call, arguments)
    assert raised.value.hint


def test_what_clients_are_told() -> None:
    """Few and short: every client sends all of it with every conversation. Schemas are valid and need nothing else."""
    listed = [mcp._described(item) for item in TOOLS]
    written = json.dumps([item.model_dump(mode="json", by_alias=True, exclude_none=True) for item in listed])
    assert len(listed) <= 16
    assert len(written) <= 12_000
    for item in listed:
        assert item.description is not None
        assert len(item.description) < 400
        assert item.output_schema is None
        assert "$" not in json.dumps(item.input_schema)
        jsonschema.Draft202012Validator.check_schema(item.input_schema)
        assert item.input_schema["type"] == "object"
        assert item.annotations is not None
        assert not (item.annotations.read_only_hint and item.annotations.destructive_hint)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("\n", None),
        ("garbage", (None, types.PARSE_ERROR)),
        ("[" * 100_000, (None, types.PARSE_ERROR)),
        ("[1, 2]", (None, types.INVALID_REQUEST)),
        ('{"jsonrpc": "2.0", "id": 7, "method": 7}', (7, types.INVALID_REQUEST)),
        ('{"jsonrpc": "2.0", "id": "a", "method": "x", "params": [1]}', ("a", types.INVALID_REQUEST)),
        ('{"jsonrpc": "2.0", "id": "\\ud800", "method": "x", "params": [1]}', (None, types.INVALID_REQUEST)),
        ('{"jsonrpc": "2.0", "id": 8, "method": "x", "params": {"a": "\\ud800"}}', {"a": "\ud800"}),
    ],
)
def test_a_message_that_cannot_be_read_is_answered(line: str, expected: Any) -> None:
    """Nobody waits for an answer for ever; half a character is for the tools to refuse."""
    with pytest.raises(ValidationError) as problem:
        types.jsonrpc_message_adapter.validate_json(line, by_name=False)
    found = stdio.read_again(problem.value)
    if isinstance(found, types.JSONRPCError):
        assert (found.id, found.error.code) == expected
    else:
        assert (None if found is None else getattr(found.message, "params", 0)) == expected


def test_an_answer_is_bounded_as_a_whole() -> None:
    """Whatever a document holds: long texts, lists and names, also of an error."""
    for odd in (
        {"error": {"message": "x" * 5_000_000, "traceback": ["y" * 1_000_000] * 3}},
        {"files": [{"path": "p" * 300, "size": number} for number in range(20_000)]},
        {f"{number}" * 100: "v" for number in range(5000)},
        {"a": [[["x" * 100] * 100] * 100] * 10, "text": "\u00e9" * 100_000, "lone": "\udce9"},
    ):
        written = answers.text(odd)
        assert len(written.encode()) <= answers.ROOM
        assert json.loads(written)["answerCut"] is True
    assert json.loads(answers.text({"stdout": "x" * 20_000}, 8192))["stdout"].count("x") == 20_000


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("repeat: lecoder-cgpu sessions ensure work", "repeat: the tool ensure with session=work"),
        (
            "lecoder-cgpu run --session a --attach run-1 --json --max-output 0",
            "the tool job_logs with job=run-1, stream, offset and limit",
        ),
        ("lecoder-cgpu job wait run-1", "the tool job_wait with job=run-1"),
        ("all of them: lecoder-cgpu job list", "all of them: the tool status with of=jobs"),
        ("lecoder-cgpu kernel restart", "the tool kernel with action=restart"),
        ("lecoder-cgpu install numpy", "the tool install with packages=numpy"),
        ("lecoder-cgpu auth login", "a person can do that: lecoder-cgpu auth login"),
        ("leave out --gpu T4, or add --high-ram", "leave out the argument gpu T4, or add the argument high_ram"),
        ("nothing to translate", "nothing to translate"),
    ],
)
def test_suggestions_name_tools(said: str, expected: str) -> None:
    """What only a person can do says so."""
    assert answers.suggestion(said) == expected
    assert json.loads(answers.text({"error": {"suggestion": said}, "stdout": said})) == {
        "error": {"suggestion": expected},
        "stdout": said,
    }


def test_calls_begin_in_order() -> None:
    """The second begins when the first was handed over, or has ended, and no earlier."""
    queue = Queue()
    first, second, third = (queue.enter() for _ in range(3))
    began: list[str] = []

    def begin(turn: Turn, name: str) -> None:
        turn.wait()
        began.append(name)
        turn.leave()

    threads = [threading.Thread(target=begin, args=given) for given in ((third, "third"), (second, "second"))]
    for thread in threads:
        thread.start()
    first.wait()
    began.append("first")
    first.leave()
    first.leave()
    for thread in threads:
        thread.join(10)
    assert began == ["first", "second", "third"]


def test_a_call_can_be_cancelled_at_any_time(call: Call) -> None:
    """Before the remote work has begun, it is ended as soon as it has."""
    stopped: list[str] = []
    call.cancel()
    assert call.cancelled.is_set()
    call.stoppable(lambda: stopped.append("late"))
    assert stopped == ["late"]
    other = Call(call.client)
    other.stoppable(lambda: stopped.append("early"))
    assert stopped == ["late"]
    other.cancel()
    assert stopped == ["late", "early"]


def test_progress_is_the_last_line(call: Call) -> None:
    call.see("epoch 1\nepoch 2\n")
    assert call.latest == "epoch 2"
    call.see("\n")
    assert call.latest == "epoch 2"
    call.see("x" * 1000)
    assert len(call.latest) == 200


def picture(side: int, kind: str = "PNG") -> bytes:
    written = io.BytesIO()
    Image.effect_noise((side, side), 100).convert("RGB").save(written, kind)
    return written.getvalue()


def test_images_of_a_display() -> None:
    """One format of each output; what a runtime calls an image and is none is left out of the answer."""
    encoded = base64.b64encode(b"png").decode()
    both = {"image/jpeg": base64.b64encode(b"jpg").decode(), "image/png": encoded, "text/plain": "<Figure>"}
    assert work_tools._images(both) == [("image/png", b"png")]
    assert work_tools._images({"text/plain": "x"}) == []
    odd: Any
    for odd in (7, None, ["x"], {}):
        assert work_tools._images({"image/png": odd}) == []
    for odd in ("", "abcde", "no base64 \u2028", base64.b64encode(b"<svg>").decode()):
        assert [mcp._thumbnail(*found) for found in work_tools._images({"image/png": odd})] == [None]


def test_large_images_are_made_small() -> None:
    small = picture(8)
    shown = mcp._thumbnail("image/png", small)
    assert shown is not None
    assert (shown.mime_type, base64.b64decode(shown.data)) == ("image/png", small)
    large = picture(1000)
    assert len(large) > mcp.IMAGE_BYTES
    shown = mcp._thumbnail("image/png", large)
    assert shown is not None
    assert shown.mime_type == "image/jpeg"
    with Image.open(io.BytesIO(base64.b64decode(shown.data))) as opened:
        assert max(opened.size) == mcp.IMAGE_SIDE


def test_what_only_looks_like_an_image() -> None:
    """Garbage, a damaged file, and one that would fill the memory are left out."""
    assert mcp._thumbnail("image/png", b"\0" * (mcp.IMAGE_BYTES + 1)) is None
    large = picture(1000)
    assert mcp._thumbnail("image/png", large[: len(large) // 2]) is None
    bomb = bytearray(large)
    bomb[16:24] = (60_000).to_bytes(4, "big") * 2  # width and height in the header
    assert mcp._thumbnail("image/png", bytes(bomb)) is None


def test_the_answer_of_a_run(call: Call) -> None:
    """The document once, then the newest images; a failure of the code is one of the call."""
    work = mcp._Work.__new__(mcp._Work)
    work.call, work.budget = call, 8192
    call.images = [("image/png", picture(8)) for _ in range(mcp.IMAGES + 2)]
    work.outcome = Run(status="ok", error_code=0, exit_code=0, mode="kernel", stdout="42\n")
    answer = mcp._answer(work)
    assert answer.structured_content is None
    assert json.loads(answer.content[0].text)["stdout"] == "42\n"  # type: ignore[union-attr]
    assert [item.type for item in answer.content[1:]] == ["image"] * mcp.IMAGES
    assert answer.is_error is False
    work.outcome.fail(errors.RuntimeFailure("no"))
    assert mcp._answer(work).is_error is True


def test_a_failure_that_is_no_error_of_ours(call: Call) -> None:
    """Whatever a tool raises becomes a document."""

    def broken(call: Call, arguments: Any) -> Struct:
        raise RuntimeError("oops")

    work = mcp._Work(Tool("broken", "", FilesArguments, broken), {}, places.Places(), None)
    assert work.done.wait(30)
    assert isinstance(work.outcome, errors.InternalError)
    content = json.loads(mcp._failed(work.outcome).content[0].text)  # type: ignore[union-attr]
    assert content["error"]["message"] == "RuntimeError: oops"
    assert ErrorInfo.of(work.outcome).message == "RuntimeError: oops"


def test_the_files_here_that_tools_may_touch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What lies below the roots, links resolved, and what a person allows; never our own folder, or one above it."""
    for folder in ("work/sub", "other", "work/own/state"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "work" / "a.py").write_text("")
    (tmp_path / "secret").write_text("")
    (tmp_path / "work" / "own" / "token").write_text("")
    (tmp_path / "work" / "way").symlink_to(tmp_path)
    monkeypatch.chdir(tmp_path / "work" / "sub")
    work = str(tmp_path / "work")
    found = places.Places([work], [str(tmp_path / "other")], [tmp_path / "work" / "own"])
    assert found.sources(["../*.py", f"{work}/sub/"]) == [f"{work}/a.py", f"{work}/sub/"]
    assert found.target(None, ["x"]) == f"{work}/sub/"
    assert found.target("../new.txt", ["x"]) == f"{work}/new.txt"
    assert found.target(f"{tmp_path}/other/", ["x"]) == f"{tmp_path}/other/"
    for path in ("../../secret", "../way/secret", str(tmp_path), "/etc/passwd", "~", "../way/*"):
        with pytest.raises(errors.UsageError, match="outside"):
            found.sources([path])
    for path in (work, f"{work}/own/token", f"{work}/own", f"{work}/o*"):
        with pytest.raises(errors.UsageError, match="our own logins"):
            found.sources([path])
    for path, source in ((f"{work}/own/", "x"), (f"{work}/", "own"), (f"{work}/", "ow*"), (f"{work}/own", "x")):
        with pytest.raises(errors.UsageError, match="our own logins"):
            found.target(path, [source])
    with pytest.raises(errors.UsageError, match="our own logins"):
        found.target(f"{work}/own/n.ipynb", [])
    (tmp_path / "alias").symlink_to(tmp_path / "work" / "own")  # as a disk has it that takes names in any case
    assert places._holds(str(tmp_path / "alias"), f"{work}/own/state/new")
    assert not places._holds(str(tmp_path / "alias"), f"{work}/sub")
    assert places.Places([str(tmp_path / "other")]).target("x", ["x"]) == f"{tmp_path}/other/x"
    with pytest.raises(errors.UsageError, match="is an address"):
        found.target("gs://bucket/x", ["x"])


@pytest.mark.parametrize(
    ("root", "expected"),
    [
        ("file:///lab/a%20b", "/lab/a b"),
        ("file://localhost/lab", "/lab"),
        ("file://elsewhere/lab", None),
        ("file:///lab%00/x", None),
        ("file:///lab%252e%252e", "/lab%2e%2e"),
        ("http://h/lab", None),
        ("http://[::bad", None),
        ("file:", None),
        ("/lab", None),
    ],
)
def test_the_folder_of_a_root(root: str, expected: str | None) -> None:
    """On this machine, decoded once."""
    assert places.folder_of(root) == expected


def test_without_roots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that cannot name any has the working folder, but not all of somebody's files; one that names none has
    nothing."""
    (tmp_path / "home" / "work").mkdir(parents=True)
    (tmp_path / "home" / "work" / "a.py").write_text("")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "home" / "work")
    assert places.Places().sources(["a.py"]) == [str(tmp_path / "home" / "work" / "a.py")]
    for folder in ("home", "."):
        monkeypatch.chdir(tmp_path / folder)
        with pytest.raises(errors.UsageError, match="no folder that tools may touch"):
            places.Places().sources(["work/a.py"])
    with pytest.raises(errors.UsageError, match="no folder that tools may touch"):
        places.Places([]).target("x", ["x"])
    allowed = places.Places([], [str(tmp_path / "home" / "work")])
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert allowed.sources(["a.py"]) == [str(tmp_path / "home" / "work" / "a.py")]
    assert places.Places([str(tmp_path / "home")]).sources(["work/a.py"]) == allowed.sources(["a.py"])
    with pytest.raises(errors.UsageError, match="was deleted"):
        places.Places().sources(["a.py"])
