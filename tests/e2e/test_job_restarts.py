"""`run --detach --restarts` and `job retry`: jobs that outlive their runtime, whoever looks after them."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import random
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lecoder_cgpu.config import Config
from lecoder_cgpu.files.generations import Generations
from lecoder_cgpu.runs import job_plans
from lecoder_cgpu.runs.attempts import Policy
from lecoder_cgpu.runs.job_plans import JobPlan, Try, Work
from lecoder_cgpu.runs.job_steps import Steps
from lecoder_cgpu.sessions.manager import SessionManager
from lecoder_cgpu.testing.colab import FakeColab
from tests.contract.test_documents import validate
from tests.support.cli import Cli
from tests.support.wait import wait_until

from .test_restarts import KNOWN, expected, generation, take_away, written

PACE = {"LECODER_CGPU_KEEPER": "on", "LECODER_CGPU_KEEPER_INTERVAL": "1", "LECODER_CGPU_RESTART_PAUSE": "1"}


@pytest.fixture
def kept(colab: FakeColab, colab_cli: Cli) -> Iterator[Cli]:
    """A command line with a keeper that looks every second."""
    colab.switches.lost = "404"
    colab_cli.variables |= PACE
    yield colab_cli
    colab_cli("sessions", "close", "--all")
    colab_cli("keeper", "stop")


def shown(cli: Cli, job: str) -> dict[str, Any]:
    document: dict[str, Any] = cli("job", "show", job, "--json").json
    return document


def test_a_job_that_loses_two_runtimes(colab: FakeColab, kept: Cli, tmp_path: Path) -> None:
    """The keeper runs it again elsewhere: one id, the files of the first attempt, the last generation, the same result;
    `job` commands follow it."""
    source, place = written(tmp_path, 90), tmp_path / "results"
    started = kept(
        "run", "--detach", "--json", KNOWN, "--restarts", "5", "--name", "train", "--sync", str(source),
        "--pull", f"out:{place}", "--every", "1s", "python3", "train.py",
    )  # fmt: skip
    assert started.code == 0, started
    job, most = started.json["jobId"], 0
    for number in (1, 2):
        most = max(most, take_away(colab, source, place))
        wait_until(lambda number=number: shown(kept, "train")["job"]["attempt"] > number)  # type: ignore[misc]
    listed = kept("job", "list", "--json")
    assert [item["id"] for item in listed.json["jobs"]] == [job], listed
    waited = kept("job", "wait", job, "--json")
    document = waited.json
    validate(document, "job")
    assert (waited.code, document["stdout"]) == (0, expected(90)), waited
    assert document["job"]["id"] == job
    causes = [(item.get("cause"), item["resumed"]) for item in document["attempts"]]
    assert causes == [("lost", False), ("lost", True), ("finished", True)], document
    assert document["stderr"].split() == ["attempt", "3", "1", job]
    lost = kept("job", "logs", job, "--attempt", "1", "--stream", "stderr", "--json")
    validate(lost.json, "job-logs")
    assert (lost.json["copied"], lost.json["outputComplete"]) == (True, False), lost
    assert lost.json["text"].split()[:2] == ["attempt", "1"], lost
    assert most == 1
    assert len(colab.vms) == 1
    assert document["pulled"][0]["local"] == str(place)


def test_a_job_that_waits_for_its_secret(colab: FakeColab, kept: Cli) -> None:
    """Secrets are stored nowhere: a job that was lost waits for them, holds nothing, and says what to do."""
    kept.variables["TOKEN"] = "abc-" + "def"
    command = (
        "printf '%s %s ' $LECODER_CGPU_ATTEMPT $LECODER_CGPU_JOB_ID; test $LECODER_CGPU_ATTEMPT = 2 || sleep 600; "
    )
    command += f"test $TOKEN = abc-{'def'} && printf $TOKEN | wc -c"  # the value stands in the command, too
    started = kept("run", "--detach", KNOWN, "--restarts", "1", "--secret", "TOKEN", command)
    assert started.code == 0, started
    job = started.out.strip()
    for told in (kept("job", "list", "--json"), kept("job", "show", job, "--json")):
        assert ("test $TOKEN = ***" in told.out, "abc-" + "def" in told.out) == (True, False), told
    colab.kill()
    waited = kept("job", "wait", job)
    assert (waited.code, f"job retry {job} --secret TOKEN" in waited.err) == (124, True), waited
    assert colab.vms == {}
    assert "test $TOKEN = ***" in kept("job", "show", job, "--json").out
    stored = b"".join(path.read_bytes() for path in kept.state.rglob("*") if path.is_file())
    assert b"abc-" + b"def" not in stored
    again = kept("job", "retry", job, "--secret", "TOKEN", "--json")
    assert (again.code, again.json["job"]["attempt"]) == (0, 2), again
    done = kept("job", "wait", job, "--json")
    assert (done.code, done.json["stdout"].split()) == (0, ["2", job, "7"]), done
    assert [item["cause"] for item in done.json["attempts"]] == ["lost", "finished"]


def test_a_failed_job_again(cli: Cli, tmp_path: Path) -> None:
    """`job retry` runs any job again that has failed, with the files as they are now, if that is wanted."""
    cli.variables["LECODER_CGPU_BACKEND"] = "local"
    source = tmp_path / "src"
    source.mkdir()
    (source / "word").write_text("exit 3\n")
    started = cli("run", "--detach", "--name", "w", "--sync", str(source), "sh word")
    job = started.out.strip()
    try:
        assert cli("job", "wait", job).code == 3
        (source / "word").write_text("echo well\n")
        refused = cli("job", "retry", "w", "--json")
        assert (refused.code, refused.json["error"]["name"]) == (66, "FilesNotKept"), refused
        again = cli("job", "retry", "w", "--sync", "--json")
        assert (again.code, again.json["job"]["id"], again.json["job"]["attempt"]) == (0, job, 2), again
        done = cli("job", "wait", job, "--json")
        assert (done.code, done.json["stdout"], done.json["job"]["id"]) == (0, "well\n", job), done
        causes = [(item["cause"], item.get("exitCode")) for item in done.json["attempts"]]
        assert causes == [("failed", 3), ("finished", 0)]
        assert cli("job", "logs", job, "--attempt", "1").code == 0
        assert "no attempt 3" in cli("job", "logs", job, "--attempt", "3").err
        assert cli("job", "rm", job).code == 0
        assert cli("job", "list", "--json").json["jobs"] == []
    finally:
        assert cli("sessions", "close", "--all").code == 0


def test_a_rehearsal(cli: Cli, tmp_path: Path) -> None:
    """On this machine, a loss is played when it is agreed to: results are put back, and the result is the same."""
    cli.variables |= {**PACE, "LECODER_CGPU_BACKEND": "local"}
    source, place = written(tmp_path, 60), tmp_path / "results"
    words = ("--restarts", "1", "--sync", str(source), "--pull", f"out:{place}", "--every", "1s")
    job = cli("run", "--detach", *words, "python3", "train.py").out.strip()
    try:
        wait_until(lambda: generation(place) > 0)
        assert cli("job", "rehearse", job).code == 2  # nobody has agreed
        assert cli("job", "rehearse", job, "--yes").code == 0
        done = cli("job", "wait", job, "--json")
        assert (done.code, done.json["stdout"]) == (0, expected(60)), done
        assert [(item["cause"], item["resumed"]) for item in done.json["attempts"]] == [
            ("lost", False),
            ("finished", True),
        ]
    finally:
        cli("sessions", "close", "--all")
        cli("keeper", "stop")


def test_a_job_between_two_runtimes(cli: Cli) -> None:
    """It is shown, waited for and ended, though there is nothing to ask."""
    now = time.time()
    job = "run-0123456789abcdef"
    lost = Try(run=job, session="s", name="gpu", began=now - 90, seen=now - 10, over=now, cause="lost", endpoint="e")
    plan = JobPlan(
        job=job, name="train", work=Work(command="train", typed="train"), policy=Policy(restarts=3), tries=[lost],
        state="pausing", due=now + 3600, elsewhere=True, changed=now,
    )  # fmt: skip
    job_plans.write(cli.state, plan)
    shown_now = cli("job", "show", "train", "--json")
    assert (shown_now.code, shown_now.json["job"]["state"]) == (0, "restarting"), shown_now
    assert shown_now.json["job"]["restartsAt"]
    for words in (("job", "show", "train"), ("job", "list", "--all-sessions", "--json"), ("status",)):
        assert "waiting for a machine of yours" in cli(*words).out  # no keeper runs
    waited = cli("job", "wait", job, "--timeout", "0")
    assert (waited.code, f"job kill {job} stops it" in waited.err) == (124, True), waited
    killed = cli("job", "kill", "train", "--json")
    assert (killed.code, killed.json["sent"]) == (0, False), killed
    ended = cli("job", "wait", job, "--json")
    assert (ended.code, ended.json["status"], ended.json["job"]["state"]) == (74, "unknown", "lost"), ended
    assert ended.json["attempts"][0]["cause"] == "lost"


def test_several_jobs_between_two_runtimes(colab: FakeColab, kept: Cli) -> None:
    """They go on for every command, as one of them does, and `job kill --all` lets none of them begin again."""
    kept.variables["LECODER_CGPU_RESTART_PAUSE"] = "300"
    jobs = [kept("run", "--detach", KNOWN, "--restarts", "1", "sleep 600").out.strip() for _ in range(2)]
    colab.kill()
    for job in jobs:
        wait_until(lambda job=job: shown(kept, job)["job"]["state"] == "restarting")  # type: ignore[misc]
    for words in (jobs, ["--all"]):
        waited = kept("job", "wait", *words, "--timeout", "0", "--json")
        assert (waited.code, waited.json["status"]) == (124, "running"), waited
        assert [item["job"]["state"] for item in waited.json["jobs"]] == ["restarting"] * 2, waited
        assert {item["job"]["id"] for item in waited.json["jobs"]} == set(jobs)
    asked = kept("job", "result", jobs[0], "--json")
    assert (asked.code, asked.json["job"]["state"]) == (124, "restarting"), asked
    killed = kept("job", "kill", "--all", "--json")
    validate(killed.json, "jobs")
    assert (killed.code, {item["job"]["id"] for item in killed.json["jobs"]}) == (0, set(jobs)), killed
    for job in jobs:
        plan = job_plans.read(kept.state, job)
        assert plan is not None
        assert (plan.state, job_plans.is_stopped(kept.state, job), len(plan.tries)) == ("ended", True, 1)
    assert (kept("job", "wait", *jobs).code, colab.vms) == (74, {})


def test_random_losses_and_dead_keepers(colab: FakeColab, kept: Cli, tmp_path: Path, loss_seed: int) -> None:
    """The runtime is lost, and the keeper is killed, at random moments, also while it starts another attempt: the same
    result, never two runtimes, each attempt once."""
    chance = random.Random(loss_seed)
    source, place = written(tmp_path, 40), tmp_path / "results"
    started = kept(
        "run", "--detach", KNOWN, "--restarts", "9", "--sync", str(source), "--pull", f"out:{place}", "--every", "1s",
        "python3", "train.py",
    )  # fmt: skip
    job, most, losses, kills = started.out.strip(), 0, 0, 0
    waiting = kept.start("job", "wait", job, "--json")
    wait_until(lambda: generation(place) > 0)
    due, until = time.monotonic() + chance.uniform(0.0, 2.0), time.monotonic() + 150
    while waiting.poll() is None:
        assert time.monotonic() < until, kept("job", "show", job)
        most = max(most, len(colab.vms))
        if time.monotonic() > due and losses < 2 and colab.vms:
            colab.kill()
            losses, due = losses + 1, time.monotonic() + chance.uniform(0.5, 5.0)
        elif time.monotonic() > due and kills < losses:
            with contextlib.suppress(OSError, ValueError):
                os.kill(json.loads((kept.state / "keeper.json").read_text())["pid"], signal.SIGKILL)
            kills, due = kills + 1, time.monotonic() + chance.uniform(3.0, 6.0)
        time.sleep(0.05)
    document = json.loads(waiting.communicate()[0])
    assert (waiting.returncode, document["stdout"]) == (0, expected(40)), document
    causes = [item["cause"] for item in document["attempts"]]
    assert causes == ["lost"] * (len(causes) - 1) + ["finished"], document
    assert most == 1


def test_results_that_did_not_come_home(colab: FakeColab, kept: Cli, tmp_path: Path) -> None:
    """A job that has finished is run again if its runtime goes before its last results are here."""
    place = tmp_path / "results"
    work = "mkdir -p out; echo $LECODER_CGPU_ATTEMPT > out/a; sleep 2; echo end"
    with Generations(place).alone(30):  # nobody can fetch
        job = kept(
            "run", "--detach", KNOWN, "--restarts", "1", "--pull", f"out:{place}", "--every", "1s", work
        ).out.strip()
        wait_until(lambda: shown(kept, job)["job"]["state"] == "exited")
        colab.kill()
    waited = kept("job", "wait", job, "--json")
    assert (waited.code, waited.json["stdout"], (place / "a").read_text()) == (0, "end\n", "2\n"), waited
    assert [item["cause"] for item in waited.json["attempts"]] == ["lost", "finished"], waited


def test_two_machines_that_act_at_once(colab: FakeColab, kept: Cli, tmp_path: Path) -> None:
    """Two keepers with one login and the same job, in two state folders: one runtime, and one process."""
    kept.variables["LECODER_CGPU_RESTART_PAUSE"] = "300"
    mark = "echo $LECODER_CGPU_ATTEMPT >> started; sleep 600"
    started = kept("run", "--detach", KNOWN, "--restarts", "1", mark)
    job = started.out.strip()
    colab.kill()
    wait_until(lambda: shown(kept, job)["job"]["state"] == "restarting")
    kept("keeper", "stop")
    shutil.copytree(kept.home, tmp_path / "other")
    other = Cli(tmp_path / "other", dict(kept.variables))
    for cli in (kept, other):
        path = cli.state / "jobs" / f"{job}.json"
        plan = json.loads(path.read_text())
        path.write_text(json.dumps(plan | {"due": time.time()}))
    keepers = [cli.start("keeper", "run") for cli in (kept, other)]
    try:
        for cli in (kept, other):
            wait_until(lambda cli=cli: shown(cli, job)["job"]["attempt"] == 2)  # type: ignore[misc]
        assert len(colab.vms) == 1
        assert kept("run", "cat started").out == "2\n"
        assert {shown(cli, job)["attempts"][1]["runId"] for cli in (kept, other)} == {job_plans.run_id(job, 2)}
    finally:
        for keeper in keepers:
            keeper.terminate()
            keeper.communicate(timeout=30)


def test_an_end_that_nobody_saw(colab: FakeColab, kept: Cli) -> None:
    """The job may have ended before its runtime went, while nobody looked for longer than the lease: it is unknown, in
    every document, and runs again only when it is told to. One that used up the memory is not run again, either."""
    started = kept("run", "--detach", KNOWN, "--restarts", "5", "test $LECODER_CGPU_ATTEMPT = 2 || sleep 600")
    job, full = started.out.strip(), kept("run", "--detach", KNOWN, "--restarts", "5", "sleep 600").out.strip()
    kept("keeper", "stop")
    for name, key, value in ((job, "seen", time.time() - 4000), (full, "memory", 0.97)):
        path = kept.state / "jobs" / f"{name}.json"
        plan = json.loads(path.read_text())
        plan["tries"][0][key] = value
        path.write_text(json.dumps(plan))
    colab.kill()
    died = kept("job", "wait", full, "--json")
    assert (died.code, died.json["attempts"][0]["cause"], len(died.json["attempts"])) == (74, "oom", 1), died
    assert "97%" in died.json["error"]["message"], died
    waited = kept("job", "wait", job, "--json")
    assert (waited.code, waited.json["status"], waited.json["job"]["state"]) == (74, "unknown", "unknown"), waited
    assert f"job retry {job}" in waited.json["error"]["suggestion"]
    assert [item["cause"] for item in waited.json["attempts"]] == ["unknown"]
    assert kept("logs", "show", job, "--json").json["status"] == "unknown"
    assert colab.vms == {}
    assert kept("job", "retry", job).code == 0
    done = kept("job", "wait", job, "--json")
    assert [item["cause"] for item in done.json["attempts"]] == ["unknown", "finished"], done


def test_rounds_of_a_scheduler(colab: FakeColab, kept: Cli) -> None:
    """Without a keeper that stays, rounds that somebody calls find a loss, and start the next attempt, also when the
    machine had killed what watches the command there before it went. The attempt has the secret of --store-secrets,
    which lies here until the end and is seen nowhere."""
    kept.variables["TOKEN"] = "abc-" + "def"
    words = (KNOWN, "--restarts", "1", "--secret", "TOKEN", "--store-secrets")
    assert kept("run", *words, "true").code == 2  # it is for jobs
    work = "test $LECODER_CGPU_ATTEMPT = 2 && printf $TOKEN | wc -c || { kill -9 $PPID; sleep 600; }"
    started = kept("run", "--detach", *words, work)
    del kept.variables["TOKEN"]
    job = started.out.strip()
    stored = kept.state / "jobs" / f"{job}.secrets"
    assert stored.stat().st_mode & 0o777 == 0o600
    assert "abc-" + "def" not in kept("job", "show", job, "--json").out
    busy = kept("keeper", "tick")
    assert (busy.code, "the keeper runs" in busy.out) == (0, True), busy
    kept("keeper", "stop")
    kept.variables["LECODER_CGPU_KEEPER"] = "off"
    assert kept("keeper", "tick").code == 0
    assert shown(kept, job)["job"]["state"] == "unknown"  # what the runtime says; nobody has judged yet
    colab.kill()

    def over() -> bool:
        assert kept("keeper", "tick").code == 0
        return bool(shown(kept, job)["job"]["state"] == "exited")

    wait_until(over)
    assert [item["cause"] for item in shown(kept, job)["attempts"]] == ["lost", "finished"]
    assert kept("job", "logs", job).out == "7\n"
    left = b"".join(path.read_bytes() for path in kept.state.rglob("*") if path.is_file())
    assert (stored.exists(), b"abc-" + b"def" in left) == (False, False)
    assert not (kept.state / "keeper.json").exists()


def test_a_limit_that_is_near(lab: Cli) -> None:
    """The stop file of an attempt appears before its time is up, so that the program saves its work. An answer counts
    from when it was asked for: this machine may have slept since, in which the attempt may have ended."""
    command = "while [ ! -e $LECODER_CGPU_STOP_FILE ]; do sleep 0.1; done; echo saved"
    job = lab("run", "--detach", "--restarts", "1", "--timeout", "5m", command).out.strip()
    manager = SessionManager(Config({"storageDir": str(lab.state)}))
    plan = Steps(manager).step(job)
    assert plan is not None
    assert plan.last.warned is False
    now = time.time()
    hours = itertools.count(now, 3600.0)
    plan = Steps(manager, clock=lambda: next(hours)).step(job)
    assert plan is not None
    assert (plan.last.warned, plan.last.seen) == (True, now)
    done = lab("job", "wait", job, "--json")
    assert (done.code, done.json["stdout"]) == (0, "saved\n"), done
