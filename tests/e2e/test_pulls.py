"""`--pull … --every …`: whole generations of results come home while the work goes on."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

from lecoder_cgpu.files.generations import Generations
from tests.contract.test_documents import validate
from tests.support.cli import Cli
from tests.support.wait import wait_until

# Writes checkpoints of three files, then a pointer, prunes the oldest, and keeps a log. `stop` there ends it.
TRAINING = """
import os, shutil, time
os.makedirs("out", exist_ok=True)
log = open("out/log.txt", "a")
number = 0
while not os.path.exists("stop") or number < 3:
    for part in range(3):
        os.makedirs(f"out/c{number}", exist_ok=True)
        with open(f"out/c{number}/{part}", "w") as file:
            file.write(str(number) * 100)
        time.sleep(0.05)
    with open("latest.tmp", "w") as file:
        file.write(str(number))
    os.replace("latest.tmp", "out/latest")
    print(number, file=log, flush=True)
    if number >= 2:
        shutil.rmtree(f"out/c{number - 2}")
    number += 1
    time.sleep(0.7)
"""


def whole(folder: Path) -> int:
    """The number of the checkpoint that a generation's pointer names, which is whole."""
    number = int((folder / "latest").read_text())
    assert [(folder / f"c{number}" / str(part)).read_text() for part in range(3)] == [str(number) * 100] * 3
    assert (folder / "log.txt").read_text().startswith("0\n")
    return number


def prepared(lab: Cli, tmp_path: Path) -> Path:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "train.py").write_text(TRAINING)
    return tmp_path / "src"


def committed(place: Path) -> int:
    """The number of the newest generation."""
    record = place.parent / f".{place.name}.lecoder-part" / "current"
    return int(json.loads(record.read_text())["number"]) if record.exists() else 0


def test_a_watched_run(lab: Cli, tmp_path: Path) -> None:
    """Generations come while it runs, each whole; the last one is how it ended. What is no file is told."""
    source, place = prepared(lab, tmp_path), tmp_path / "results"
    with (source / "train.py").open("a") as file:
        file.write("\nos.mkfifo('out/pipe')\n")
    running = lab.start(
        "run", "--json", "--sync", str(source), "--pull", f"out:{place}", "--every", "1s", "python3", "train.py"
    )
    seen: set[int] = set()

    def second() -> bool:
        with Generations(place).alone(30):  # no fetch replaces it meanwhile
            if (place / "latest").exists():  # the first one may be earlier than the first checkpoint
                seen.add(whole(place))
        return len(seen) >= 2

    wait_until(second, limit=60)
    lab("run", "touch src/stop")
    out, err = running.communicate(timeout=60)
    document = json.loads(out)
    (pulled,) = document["pulled"]
    assert running.returncode == 0, (document, err)
    assert pulled["generation"] >= 2
    assert pulled["local"] == str(place)
    assert whole(place) >= max(seen)
    assert "pipe" in err.decode()
    assert [item["path"] for item in pulled["skipped"]] == ["pipe"]
    assert not (place / "pipe").exists()
    logged = (place / "log.txt").read_text().split()
    assert logged == [str(number) for number in range(len(logged))]


def test_a_job_that_nobody_watches(lab: Cli, tmp_path: Path) -> None:
    """The keeper fetches, and ends when nothing is left to fetch; `job wait` says where the results are."""
    source, place = prepared(lab, tmp_path), tmp_path / "results"
    lab.variables |= {"LECODER_CGPU_KEEPER": "on", "LECODER_CGPU_KEEPER_INTERVAL": "0.5"}
    lab("run", "rm -rf src")
    try:
        started = lab(
            "run", "--detach", "--sync", str(source), "--pull", f"out:{place}", "--every", "1s", "python3", "train.py"
        )
        assert started.code == 0, started
        job = started.out.strip()
        wait_until(lambda: committed(place) >= 2, limit=60)
        assert lab("keeper", "status", "--json").json["running"] is True
        lab("run", "touch src/stop")
        wait_until(lambda: lab("keeper", "status", "--json").json["running"] is False, limit=60)
        last = whole(place)
        waited = lab("job", "wait", job, "--json")
        assert waited.code == 0, waited
        (pulled,) = waited.json["pulled"]
        assert (pulled["local"], "error" in pulled) == (str(place), False)
        assert whole(place) == last
    finally:
        lab("keeper", "stop")
        lab.variables["LECODER_CGPU_KEEPER"] = "off"


def test_a_program_that_says_when(lab: Cli, tmp_path: Path) -> None:
    """With --pull-when, a job's results are fetched when the file that the program writes comes or changes, not before,
    and at the end."""
    place = tmp_path / "results"
    lab.variables |= {"LECODER_CGPU_KEEPER": "on", "LECODER_CGPU_KEEPER_INTERVAL": "0.3"}
    wait = "until [ -e go$i ]; do date +%N > out/noise; sleep 0.3; done"
    work = f"rm -rf out go*; mkdir out; for i in 1 2; do {wait}; echo $i > out/value; date +%N > out/done; done"
    try:
        started = lab("run", "--detach", "--pull", f"out:{place}", "--every", "1s", "--pull-when", "out/do*", work)
        job = started.out.strip()
        for number in (1, 2):
            time.sleep(2.5)  # in which --every alone would have fetched
            assert committed(place) == number - 1
            lab("run", f"touch go{number}")
            wait_until(lambda number=number: committed(place) >= number)  # type: ignore[misc]
            assert (place / "value").read_text() == f"{number}\n"
        assert lab("job", "wait", job).code == 0
    finally:
        lab("keeper", "stop")
        lab.variables["LECODER_CGPU_KEEPER"] = "off"


def test_a_runtime_that_copies_by_itself(lab: Cli, tmp_path: Path) -> None:
    """With --push, results are elsewhere while the work goes on and at its end, and no client is needed; a copy that
    cannot be made is a failure, and says why."""
    away = tmp_path / "drive"
    work = "rm -rf push; mkdir push; echo 1 > push/a; until [ -e push/go ]; do sleep 0.1; done; echo 2 > push/b"
    started = lab("run", "--detach", "--push", f"push:{away}", "--every", "1s", work)
    wait_until(lambda: (away / "a").exists())
    assert lab("job", "show", started.out.strip(), "--json").json["pushed"][0]["files"] == 1
    lab("run", "touch push/go")
    waited = lab("job", "wait", started.out.strip(), "--json")
    validate(waited.json, "job")
    (pushed,) = waited.json["pushed"]
    assert (waited.code, pushed["target"], pushed["files"], "error" in pushed) == (0, str(away), 3, False), waited
    assert {path.name for path in away.iterdir()} == {"a", "b", "go", "done.json"}
    assert json.loads((away / "done.json").read_text())["exit"] == 0
    failed = lab("run", "--push", "push:/content/drive/MyDrive/x", "echo fine", "--json")
    assert (failed.code, failed.json["stdout"], failed.json["error"]["name"]) == (74, "fine\n", "PushFailed"), failed
    assert "not mounted" in failed.json["error"]["message"]


def test_a_watched_run_whose_command_is_killed(lab: Cli, tmp_path: Path) -> None:
    """The work goes on, and the keeper fetches in place of the command, to the end."""
    source, place = prepared(lab, tmp_path), tmp_path / "results"
    lab.variables |= {"LECODER_CGPU_KEEPER": "on", "LECODER_CGPU_KEEPER_INTERVAL": "0.5"}
    lab("run", "rm -rf src")
    try:
        running = lab.start(
            "run", "--sync", str(source), "--pull", f"out:{place}", "--every", "1s", "python3", "train.py"
        )
        wait_until(lambda: committed(place) >= 1)
        running.kill()
        running.communicate()
        reached = committed(place)
        wait_until(lambda: committed(place) >= reached + 2)
        lab("run", "touch src/stop")
        wait_until(lambda: lab("keeper", "status", "--json").json["running"] is False)
        log = lab("run", "tail -n 1 src/out/log.txt").out
        assert whole(place) == int(log)
    finally:
        lab("keeper", "stop")
        lab.variables["LECODER_CGPU_KEEPER"] = "off"


def test_one_file_and_what_is_refused(lab: Cli, tmp_path: Path) -> None:
    """A single file has generations, too. A name that is taken, and --every without --pull, are refused at once."""
    place = tmp_path / "model.txt"
    done = lab(
        "run", "--json", "--pull", f"model.txt:{place}", "--every", "1s",
        "for i in 1 2 3; do echo $i > m.tmp; mv m.tmp model.txt; sleep 1.2; done",
    )  # fmt: skip
    assert done.code == 0, done
    assert place.read_text() == "3\n"
    assert (tmp_path / ".model.txt.lecoder-part" / "previous").read_text() in ("1\n", "2\n")
    taken = tmp_path / "taken"
    taken.write_text("mine")
    refused = lab("run", "--json", "--pull", f"out:{taken}", "--every", "1s", "true")
    assert (refused.code, refused.json["error"]["name"]) == (2, "TargetExists")
    assert taken.read_text() == "mine"
    alone = lab("run", "--json", "--every", "1m", "true")
    assert (alone.code, alone.json["error"]["name"]) == (2, "ConflictingOptions")
    missing = lab("run", "--json", "--pull", f"nothing:{tmp_path / 'n'}", "--every", "1s", "sleep 1.5")
    assert missing.json["pulled"][0]["error"]["name"] == "FileNotFound"
    assert "was not fetched, and the run goes on" not in missing.err  # it may still come
    assert sorted(os.listdir(tmp_path / ".n.lecoder-part")) == ["lock"]


def test_a_disk_that_refuses(lab: Cli, tmp_path: Path) -> None:
    """What cannot be written here is told, the run goes on, and the generation before stays whole."""
    import resource

    place = tmp_path / "out.txt"
    words = "echo small > out.txt; sleep 2.5; head -c 3000000 /dev/zero > out.txt; sleep 2.5; echo done"
    running = lab.start(
        "run", "--json", "--pull", f"out.txt:{place}", "--every", "1s", words,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, 2_000_000)),
    )  # fmt: skip
    out, err = running.communicate(timeout=60)
    document = json.loads(out)
    assert document["stdout"] == "done\n", (document, err)
    assert "was not fetched, and the run goes on" in err.decode()
    assert document["pulled"][0]["error"]["message"]
    assert document["pulled"][0]["generation"] == 1
    assert place.read_text() == "small\n"
