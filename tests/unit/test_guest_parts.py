"""The helper's parts in this process: the environment of runs, keeping and pruning them, calls, and GPU figures."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lecoder_cgpu.guest import environment, report, runs
from lecoder_cgpu.guest.runs import Run
from lecoder_cgpu.guest.service import Service, default_home
from lecoder_cgpu.helper import bootstrap

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the helper was made for Linux")


@pytest.fixture
def pushed() -> list[dict[str, Any]]:
    """What the helper has pushed."""
    return []


@pytest.fixture
def helper(tmp_path: Path, pushed: list[dict[str, Any]]) -> Iterator[Service]:
    """A helper outside of any kernel."""
    work = tmp_path / "work"
    work.mkdir()
    found = Service(
        lambda kind, content: pushed.append(content),
        "test",
        bootstrap.sources(),
        home=str(tmp_path / "home"),
        cwd=str(work),
    )
    wait_for(lambda: found._store._spare is not None)
    yield found
    for run in found._store.all():
        if run.state()["state"] == "running":
            run.signal(9, "kill")
        until_exited(found, run.id)
    wait_for(lambda: found._store._spare is not None)
    found._store.close()


def call(helper: Service, method: str, **arguments: Any) -> dict[str, Any]:
    """A call that must succeed."""
    answer = helper.serve(json.dumps({"method": method, **arguments})).answer
    assert answer["ok"], answer
    return answer


def shell(command: str, path: str) -> str:
    """What a command prints with that search path."""
    variables = {**os.environ, "PATH": path}
    return subprocess.run(["/bin/sh", "-c", command], env=variables, capture_output=True, text=True, check=True).stdout


def refused(helper: Service, method: str, **arguments: Any) -> str:
    """The name of the error of a call that must fail."""
    answer = helper.serve(json.dumps({"method": method, **arguments})).answer
    assert answer["ok"] is False
    return str(answer["error"]["name"])


def wait_for(condition: Callable[[], bool], seconds: float = 30) -> None:
    """Wait until something is true; the limit only ends a test that has failed."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.005)


def until_exited(helper: Service, run: str) -> dict[str, Any]:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        state: dict[str, Any] = call(helper, "state", run=run)["update"]["state"]
        if state["state"] == "exited":
            return state
        time.sleep(0.01)
    raise AssertionError("the run did not end")


def test_search_path_leads_to_this_interpreter(tmp_path: Path) -> None:
    """Where the search path has other Pythons, wrappers for python and pip come first."""
    other = tmp_path / "other"
    other.mkdir()
    for name in ("python", "pip"):
        (other / name).write_text("#!/bin/sh\necho other\n")
        (other / name).chmod(0o755)
    path = environment.search_path(f"{other}:/usr/bin:/bin", str(tmp_path / "home"))
    for command in ("python", "python3"):
        assert shell(f"{command} -c 'import sys; print(sys.prefix)'", path) == f"{sys.prefix}\n"
    assert path.split(":")[-3:] == [str(other), "/usr/bin", "/bin"]


def test_wrappers_are_made_when_names_are_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment whose folder lacks `pip` gets one that is its interpreter's."""
    bare = tmp_path / "it's bare"
    bare.mkdir()
    (bare / "python9").symlink_to(os.path.realpath(sys.executable))
    monkeypatch.setattr(sys, "executable", str(bare / "python9"))
    path = environment.search_path("/nowhere", str(tmp_path / "home"))
    wrappers = Path(path.split(":")[0])
    assert sorted(item.name for item in wrappers.iterdir()) == ["pip", "pip3", "python", "python3"]
    assert "-m pip" in (wrappers / "pip").read_text()
    assert shell("python -c 'print(6 * 7)'", path) == "42\n"


def test_environment_without_the_notebooks_things(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables that the kernel put in for notebooks are gone, or as they were when the process started."""
    for name, value in {
        "JPY_PARENT_PID": "1",
        "KERNEL_ID": "x",
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        "TERM": "xterm-color-of-the-kernel",
        "CLICOLOR_FORCE": "1",
        "PYDEVD_X": "1",
        "KEPT": "yes",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    found = environment.base(str(tmp_path))
    assert not {"JPY_PARENT_PID", "KERNEL_ID", "MPLBACKEND", "CLICOLOR_FORCE", "PYDEVD_X"} & set(found)
    assert found.get("TERM") != "xterm-color-of-the-kernel"
    assert (found["KEPT"], found["PYTHONUNBUFFERED"]) == ("yes", "1")


def test_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The home folder follows its variable, then XDG_STATE_HOME, then the convention."""
    monkeypatch.setenv("LECODER_CGPU_RESIDENT_HOME", str(tmp_path / "a"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "b"))
    monkeypatch.setenv("HOME", str(tmp_path / "c"))
    assert default_home() == str(tmp_path / "a")
    monkeypatch.delenv("LECODER_CGPU_RESIDENT_HOME")
    assert default_home() == str(tmp_path / "b" / "lecoder-cgpu")
    monkeypatch.delenv("XDG_STATE_HOME")
    assert default_home() == str(tmp_path / "c" / ".local" / "state" / "lecoder-cgpu")


def test_bad_calls_are_refused(helper: Service) -> None:
    """A call that cannot be served has a named error, and nothing private is a call."""
    assert refused(helper, "no_such_call") == "NoSuchCall"
    assert refused(helper, "_push") == "NoSuchCall"
    assert refused(helper, "start", run="../../x", shell="true") == "BadRequest"
    assert refused(helper, "start", run="run-000") == "BadRequest"
    assert refused(helper, "start", run="run-000", argv=["a\0b"]) == "BadRequest"
    assert refused(helper, "start", run="run-000", shell="true", env={"A=B": "1"}) == "BadRequest"
    assert refused(helper, "start", run="run-000", shell="true", cwd="missing") == "NotFound"
    assert refused(helper, "state", run="run-000") == "RunNotFound"
    assert refused(helper, "stdin", run="run-000", data="") == "RunNotFound"


def test_a_long_environment_fits(helper: Service) -> None:
    """A spec far larger than a pipe holds reaches the supervisor whole, also with stdin after it."""
    large = {f"LONG_{number}": "x" * 100_000 for number in range(10)}
    command = 'echo "${#LONG_9}"; cat'
    call(helper, "start", run="run-large", shell=command, env=large, stdin=True)
    call(helper, "stdin", run="run-large", data="aW5wdXQ=", eof=True)
    assert until_exited(helper, "run-large")["result"]["exit"] == 0
    run = helper._store.find("run-large")
    assert run.read("stdout", 0, 100) == b"100000\ninput"


def test_pruning_drops_the_oldest_finished_runs(helper: Service) -> None:
    """Beyond its bounds the store forgets the oldest finished runs; what runs is never touched."""
    call(helper, "start", run="run-going", shell="sleep 60")
    for number in range(5):
        call(helper, "start", run=f"run-old-{number}", shell="head -c 1000 /dev/zero")
        until_exited(helper, f"run-old-{number}")
    store = helper._store
    store.prune(keep_bytes=1 << 30, keep_runs=3)
    assert len(store.all()) == 6, "fresh runs are kept, for somebody may be about to fetch them"
    for run in store.all():
        run.followed_until = 0.0
    store.prune(keep_bytes=1 << 30, keep_runs=3, keep_fresh=0)
    assert [run.id for run in store.all()] == ["run-old-4", "run-old-3", "run-old-2", "run-going"]
    store.prune(keep_bytes=2500, keep_runs=100, keep_fresh=0)
    assert [run.id for run in store.all()] == ["run-old-4", "run-old-3", "run-going"]
    call(helper, "signal", run="run-going", signal="KILL")
    until_exited(helper, "run-going")


def test_a_start_that_was_not_completed_is_unknown(tmp_path: Path) -> None:
    """A folder without a spec is a run that is being started, and after a while one whose start broke off."""
    folder = tmp_path / "run-half"
    folder.mkdir()
    assert Run("run-half", str(folder)).state()["state"] == "starting"
    os.utime(folder, (1, 1))
    state = Run("run-half", str(folder)).state()
    assert (state["state"], state["alive"]) == ("unknown", False)


def test_a_killed_spare_is_replaced(helper: Service) -> None:
    """A spare supervisor that somebody killed does not cost the next run."""
    assert helper._store._spare is not None
    helper._store._spare.kill()
    call(helper, "start", run="run-spare", shell="exit 6")
    assert until_exited(helper, "run-spare")["result"]["exit"] == 6


def test_pushes_are_bounded(helper: Service, pushed: list[dict[str, Any]]) -> None:
    """Pushes carry small output whole, of large output only the size, and the last one tells sizes and result."""
    call(helper, "start", run="run-small", shell="sleep 0.1; echo small")
    until_exited(helper, "run-small")
    call(helper, "start", run="run-large", shell="sleep 0.1; head -c 3000000 /dev/zero; sleep 0.2")
    until_exited(helper, "run-large")
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        news = {
            name: [i for push in pushed for i in push["runs"] if i["run"] == name]
            for name in ("run-small", "run-large")
        }
        if all(items and items[-1].get("state", {}).get("state") == "exited" for items in news.values()):
            break
        time.sleep(0.01)
    assert [item["stdout"]["data"] for item in news["run-small"] if "data" in item.get("stdout", {})] == ["c21hbGwK"]
    assert sum(len(item.get("stdout", {}).get("data", "")) for item in news["run-large"]) < 3_000_000
    assert news["run-large"][-1]["stdout"]["size"] == 3_000_000
    assert len(pushed) < 200


def test_gpu_figures_are_parsed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines of nvidia-smi become figures in bytes; what the driver does not give is None; a failure is told."""
    program = tmp_path / "nvidia-smi"
    program.write_text(
        "#!/bin/sh\n"
        "echo '0, Tesla T4, GPU-1-2, 550.54.15, 15360, 103, 7'\n"
        "echo '1, Odd One, GPU-3, 550.54.15, [N/A], [N/A], [N/A]'\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    first, second = report.nvidia_gpus()
    assert (first["name"], first["memoryTotalBytes"], first["memoryUsedBytes"]) == ("Tesla T4", 15360 << 20, 103 << 20)
    assert (first["utilization"], first["driver"], first["uuid"]) == (7, "550.54.15", "GPU-1-2")
    assert (second["index"], second["memoryTotalBytes"], second["utilization"]) == (1, None, None)
    program.write_text(
        "#!/bin/sh\necho '1234, 2048, /a, b'; echo '77, [N/A], -'; echo '[Insufficient Permissions], 1'\n"
    )
    assert report.gpu_processes() == [
        {"pid": 1234, "memoryBytes": 2048 << 20, "name": "/a, b"},
        {"pid": 77, "memoryBytes": None, "name": "-"},
    ]
    program.write_text("#!/bin/sh\necho broken; exit 9\n")
    with pytest.raises(ValueError, match="broken"):
        report.nvidia_gpus()


def test_files_of_the_client_that_starts_a_run(helper: Service, tmp_path: Path) -> None:
    """They get their places before the process is there; what another client has sent for the same run never does."""
    work = tmp_path / "work"
    for client, text in (("a", "generation 2"), ("b", "generation 1")):
        for name in ("src/main", "src/out/state", "deep/new/file"):
            folder, _, rest = name.partition("/")
            staged = work / f".{folder}.{client}.lecoder-part" / rest
            staged.parent.mkdir(parents=True, exist_ok=True)
            staged.write_text(text)
    (work / "src" / "out").mkdir(parents=True)
    (work / "src" / "out" / "other").write_text("kept")

    def start(client: str) -> dict[str, Any]:
        places = [[f".{name}.{client}.lecoder-part", name] for name in ("src", "deep")]
        return call(
            helper, "start", run="run-placed", shell="cat out/state; echo 3 > out/state", cwd="src", place=places
        )

    start("a")
    until_exited(helper, "run-placed")
    start("b")
    start("a")
    assert helper._store.find("run-placed").read("stdout", 0, 99) == b"generation 2"
    assert {str(path.relative_to(work)): path.read_text() for path in work.rglob("*") if path.is_file()} == {
        "src/main": "generation 2", "src/out/state": "3\n", "src/out/other": "kept", "deep/new/file": "generation 2"
    }  # fmt: skip
    failed = helper.serve(
        json.dumps({"method": "start", "run": "run-nothing", "shell": "true", "place": [["no", "x"]]})
    )
    assert failed.answer["ok"] is False, failed.answer
    assert call(helper, "runs")["runs"][0]["run"] == "run-placed"


def test_names_that_no_message_can_have_are_escaped() -> None:
    """One run that is called so hides no other one."""
    assert runs.as_text(["é", "caf\udce9", "half \ud800"]) == ["é", "caf\\xe9", "half \\ud800"]
