"""What a runtime commits to a Hub by itself (`--push out:hf://…`), with the Hub's own library and a real server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from lecoder_cgpu.guest import hub_pushes, pushed_files
from lecoder_cgpu.guest.hub_pushes import HubPush
from lecoder_cgpu.guest.pushes import Pusher
from tests.support.hub_api import HubApi, hub_api

TOKEN = "hf_" + "abcdefgh"


def soon() -> float:
    """A moment that no test reaches."""
    return time.monotonic() + 60


def environment(hub: HubApi, tmp_path: Path) -> dict[str, str]:
    own = {"HF_ENDPOINT": hub.address, "HF_TOKEN": TOKEN, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_DISABLE_XET": "1"}
    return {**os.environ, **own, "LECODER_CGPU_RUN": "x"}


def test_commits(tmp_path: Path) -> None:
    """What is new, what is gone, and the end of the run; each is read back, so what is damaged on the way is told. The
    token is left nowhere."""
    pytest.importorskip("huggingface_hub")
    source, run = tmp_path / "out", tmp_path / "run"
    (source / "c1").mkdir(parents=True)
    run.mkdir()
    (source / "c1" / "weights").write_bytes(bytes(5000))
    (source / "latest").write_text("c1")
    with hub_api(TOKEN) as hub:
        wanted = [["out", "hf://me/model@main/try 1"]]
        pusher = Pusher(str(run), str(tmp_path), wanted, 300, environment(hub, tmp_path))
        pusher._round(soon())
        files = hub.repositories["me/model"]
        assert files == {"try 1/c1/weights": bytes(5000), "try 1/latest": b"c1"}
        assert "problem" not in pusher.notes()[0]
        (source / "c1" / "weights").unlink()
        (source / "latest").write_text("c2")
        hub.damaged = {"try 1/latest"}
        (note,) = pusher.finish({"run": "run-1", "exit": 0})
        assert json.loads(files.pop("try 1/done.json"))["run"] == "run-1"
        assert files == {"try 1/latest": b"c"}
        assert note["problem"] == "what the Hub has as try 1/latest is not what was sent"
    assert [path for path in tmp_path.rglob("*") if path.is_file() and TOKEN in path.read_text()] == []
    assert [path.name for path in run.iterdir()] == ["pushes.json"]


class Recorded(HubPush):
    """A push whose orders are recorded in the place of commits."""

    orders: list[dict[str, Any]]

    def _asked(self, python: str, order: dict[str, Any], deadline: float, *, last: bool) -> dict[str, Any]:
        content = {name: Path(path).read_text() for path, name in order["add"]}
        self.orders.append({**order, "add": content})
        return {"problem": None, "missing": False}


def recorded(tmp_path: Path, target: str = "hf://me/model") -> Recorded:
    push = Recorded(str(tmp_path / "out"), target, str(tmp_path / "aside"), {"PATH": os.environ["PATH"]})
    push.orders = []
    return push


def test_one_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pointer that is written meanwhile comes with what it points to, a log as far as it is, and what never settles
    stays out."""
    out = tmp_path / "out"
    out.mkdir()
    for name in ("pointer", "log", "noise"):
        (out / name).write_text("1")
    looks = 0
    listed = pushed_files.listing

    def meanwhile(place: str) -> dict[str, tuple[int, int]]:
        nonlocal looks
        looks += 1
        if looks == 2:
            (out / "c2").write_text("2")
            (out / "pointer").write_text("c2")
        (out / "noise").write_text("1" if looks % 2 else "2")
        os.utime(out / "noise", ns=(looks, looks))
        with (out / "log").open("a") as log:
            log.write("1")
        return listed(place)

    monkeypatch.setattr(pushed_files, "listing", meanwhile)
    monkeypatch.setattr(hub_pushes, "PAUSE", 0.0)
    push = recorded(tmp_path)
    push.copy(soon())
    (order,) = push.orders
    assert order["add"].pop("log") in ("1" * number for number in range(1, 9))
    assert order["add"] == {"pointer": "c2", "c2": "2"}
    assert (push.restless, push.at, push.problem) == (["noise"], None, None)
    monkeypatch.setattr(pushed_files, "listing", listed)
    push.copy(soon())
    assert sorted(push.orders[1]["add"]) == ["log", "noise"]
    push.copy(soon())
    assert len(push.orders) == 2
    assert not (tmp_path / "aside").exists()


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("hf://me/model", ("model", "me/model", "main", "a")),
        ("hf://datasets/me/set@v1/x/y/", ("dataset", "me/set", "v1", "x/y/a")),
        ("hf://spaces/me/app/x", ("space", "me/app", "main", "x/a")),
    ],
)
def test_addresses(tmp_path: Path, target: str, expected: tuple[str, ...]) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a").write_text("1")
    push = recorded(tmp_path, target)
    push.copy(soon())
    (order,) = push.orders
    assert (order["kind"], order["repo"], order["revision"], *order["add"]) == expected


def test_a_runtime_without_the_library(tmp_path: Path) -> None:
    """It is told, with what mends it; so is what ends in the middle."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a").write_text("1")
    bare = {"PATH": str(tmp_path), "PYTHONPATH": str(tmp_path / "none")}
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "huggingface_hub.py").write_text("raise ImportError('none here')\n")
    push = HubPush(str(tmp_path / "out"), "hf://me/model", str(tmp_path / "aside"), {**bare, "HF_TOKEN": TOKEN})
    push.copy(soon())
    assert push.problem is not None
    assert "lecoder-cgpu install huggingface_hub" in push.problem
    (tmp_path / "none" / "huggingface_hub.py").write_text(f"raise SystemExit({TOKEN!r})\n")
    push.copy(soon())
    assert push.problem == "the upload ended with status 1"
    (tmp_path / "none" / "huggingface_hub.py").write_text("def HfApi(token): raise OSError(token + ' x')\n")
    order = json.dumps({"kind": "model"})
    words = [sys.executable, "-c", hub_pushes._START, hub_pushes._PROGRAM]
    done = subprocess.run(words, input=order.encode(), capture_output=True, env={**bare, "HF_TOKEN": TOKEN}, check=True)
    assert json.loads(done.stdout)["problem"] == "OSError: *** x"
