"""Jobs that are run again: their names, and what documents say of them without any runtime."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import structs

from lecoder_cgpu import errors
from lecoder_cgpu.files import pull_plans, pulling
from lecoder_cgpu.files.generations import Generations, Manifest
from lecoder_cgpu.guest import output_order
from lecoder_cgpu.models.base import ErrorInfo
from lecoder_cgpu.models.jobs import Job
from lecoder_cgpu.runs import job_output, job_plans, job_views, kept_output
from lecoder_cgpu.runs.attempts import Policy
from lecoder_cgpu.runs.job_names import key_id
from lecoder_cgpu.runs.job_plans import JobPlan, Try, Work
from lecoder_cgpu.store.session_store import Store
from tests.contract.test_documents import validate

JOB = "run-0123456789abcdef"


def tried(number: int = 1, **more: Any) -> Try:
    values: dict[str, Any] = {"session": "s", "name": "gpu", "began": 100.0, "seen": 200.0, "over": 300.0}
    return Try(run=job_plans.run_id(JOB, number), **values | more)


def planned(*tries: Try, **more: Any) -> JobPlan:
    values: dict[str, Any] = {"job": JOB, "work": Work(command="train"), "policy": Policy(restarts=3)}
    return JobPlan(tries=list(tries), **values | more)


def test_names_derive_from_job_and_attempt() -> None:
    """The same for whoever computes them, and different for each attempt. They are written in the plans of no version:
    another value would start an attempt twice after an upgrade."""
    assert job_plans.run_id(JOB, 1) == JOB
    assert job_plans.run_id(JOB, 2) == "run-4a90c69600fd394d"
    assert job_plans.runtime_key(JOB, 2) == "8fb7ca3b-3947-505e-a075-28e1998dc68c"
    assert len({job_plans.runtime_key(JOB, number) for number in range(1, 50)}) == 49
    assert str(uuid.UUID(job_plans.runtime_key(JOB, 3))) == job_plans.runtime_key(JOB, 3)


def test_a_command_of_any_bytes_is_kept(tmp_path: Path) -> None:
    """Words that are no UTF-8 come back as they were; a damaged plan is none."""
    plan = planned(tried(), work=Work(command=["echo", "caf\udce9", "\\ud", "é", "😀"]))
    job_plans.write(tmp_path, plan)
    assert job_plans.read(tmp_path, JOB) == plan
    (tmp_path / "jobs" / f"{JOB}.json").write_text('{"job": "\\udce9", ')
    assert job_plans.read(tmp_path, JOB) is None


def test_a_job_is_found_by_all_its_names(tmp_path: Path) -> None:
    """By id, its beginning, the id of an attempt, name and key; one that never is run again is left to its runtime."""
    plan = planned(tried(), tried(2), name="train")
    job_plans.write(tmp_path, plan)
    for text in (JOB, "run-0123", "0123", job_plans.run_id(JOB, 2), "train"):
        found = job_plans.find(tmp_path, text)
        assert found is not None, text
        assert found.job == JOB
    assert job_plans.find(tmp_path, "") is None
    assert job_plans.find(tmp_path, "other") is None
    assert plan.run_called("train") == plan.run_called(JOB) == job_plans.run_id(JOB, 2)
    assert plan.run_called("train", 1) == JOB
    with pytest.raises(errors.UsageError):
        plan.run_called("train", 3)
    keyed = key_id("k")
    job_plans.write(tmp_path, JobPlan(job=keyed, work=Work(command="x"), tries=[tried()]))
    assert job_plans.find(tmp_path, keyed) is None
    assert job_plans.plain(tmp_path, "k") is not None
    (tmp_path / "jobs" / f"{JOB}.json").write_text("{")
    assert job_plans.find(tmp_path, JOB) is None


@pytest.mark.parametrize(
    ("last", "more", "status", "code", "state"),
    [
        (tried(cause="finished", exit_code=0), {}, "ok", 0, "exited"),
        (tried(cause="failed", exit_code=3), {}, "error", 3, "exited"),
        (tried(cause="lost"), {}, "unknown", 74, "lost"),
        (tried(cause="oom"), {}, "unknown", 74, "lost"),
        (tried(cause="unknown"), {}, "unknown", 74, "unknown"),
        (tried(cause="killed", exit_code=143), {}, "error", 143, "exited"),
        (tried(cause="limit", exit_code=75), {}, "error", 75, "exited"),
        (tried(cause="limit"), {}, "error", 75, "exited"),
        (tried(cause="lost"), {"outcome": 75, "why": "the limit over all attempts is reached"}, "error", 75, "lost"),
    ],
)
def test_how_a_job_ended(tmp_path: Path, last: Try, more: dict[str, Any], status: str, code: int, state: str) -> None:
    """Status, exit status and state, as far as the plan knows them, agree with the last attempt."""
    found = job_views.document(planned(last, state="ended", **more), Store(tmp_path))
    assert (found.status, found.exit_code, found.job.state) == (status, code, state)
    assert [item.cause for item in job_views.attempts_of(planned(last))] == [last.cause]
    assert (found.error_code == 0) == (code == 0)


def test_a_list_has_each_job_once() -> None:
    """By its last attempt; one between two runtimes is there, too, and other jobs stay as they are."""
    plan = planned(tried(cause="failed", exit_code=1), tried(2, over=None))
    rows = [Job(id=run, state="running", kind="process") for run in (plan.last.run, "run-other", JOB)]
    merged = job_views.merged(rows, [plan])
    assert next((job.id, job.attempt) for job in merged) == (JOB, 2)
    assert [job.id for job in merged] == [JOB, "run-other"]
    pausing = planned(tried(cause="lost"), state="pausing", due=4000.0)
    assert [job.state for job in job_views.merged([], [pausing])] == ["restarting"]


def test_a_stopped_job(tmp_path: Path) -> None:
    """The mark counts for every process at once, until the job is run again by hand."""
    job_plans.write(tmp_path, planned(tried()))
    assert not job_plans.is_stopped(tmp_path, JOB)
    job_plans.stop(tmp_path, JOB)
    assert job_plans.is_stopped(tmp_path, JOB)
    job_plans.go_on(tmp_path, JOB)
    assert not job_plans.is_stopped(tmp_path, JOB)
    job_plans.remove(tmp_path, JOB)
    assert job_plans.plans(tmp_path) == []


def test_one_process_at_a_time(tmp_path: Path) -> None:
    """The second does nothing, and does not wait."""
    with job_plans.alone(tmp_path, JOB) as first, job_plans.alone(tmp_path, JOB) as second:
        assert (first, second) == (True, False)


def test_a_copy_of_what_was_printed(tmp_path: Path) -> None:
    """Both streams in their order, the last lines, an offset; whether it is all is known when the end was copied."""
    job_plans.write(tmp_path, planned(tried(cause="lost"), tried(2)))
    assert kept_output.of(tmp_path, JOB, 1) is None
    folder = job_plans.files(tmp_path, JOB) / "output" / JOB
    folder.mkdir(parents=True)
    for name, size in (("stdout", 6), ("stderr", 4), ("stdout", 4)):
        with (folder / output_order.FILE).open("ab") as file:
            file.write(output_order.entry(name, size))
    (folder / "stdout").write_bytes(b"one..\ntwo\nlate")
    (folder / "stderr").write_bytes(b"err\n")
    copy = kept_output.of(tmp_path, JOB, 1)
    assert copy is not None
    assert copy.read(JOB, "stdout", -4, None)[1] == b"late"
    assert copy.read(JOB, "stdout", 6, 3)[1] == b"two"
    pieces: list[tuple[str, bytes]] = []
    job_output.read_both(copy, JOB, lambda name, data: pieces.append((name, data)), 0, None)
    assert pieces == [("stdout", b"one..\n"), ("stderr", b"err\n"), ("stdout", b"two\n"), ("stdout", b"late")]
    pieces.clear()
    job_output.show_last_lines(copy, JOB, lambda name, data: pieces.append((name, data)), 2)
    assert b"".join(data for _, data in pieces) == b"two\nlate"
    assert (copy.is_complete, "18 bytes" in copy.said(), "may have printed more" in copy.said()) == (False, True, True)
    (folder / kept_output.ALL).touch()
    assert (copy.is_complete, "all that it printed" in copy.said()) == (True, True)


ENDS: list[tuple[Try, dict[str, Any]]] = [
    (tried(cause="lost", output=(9, 0)), {"state": "pausing", "due": 4000.0}),
    (tried(cause="lost"), {"state": "waiting", "why": "its secrets: lecoder-cgpu job retry X"}),
    *[(tried(cause=cause), {"state": "ended"}) for cause in ("lost", "oom", "unknown", "killed", "limit", "refused")],
    (tried(cause="failed", exit_code=3), {"state": "ended"}),
    (tried(cause="finished", exit_code=0), {"state": "ended"}),
    (tried(cause="lost"), {"state": "ended", "outcome": 75, "why": "the limit over all attempts is reached"}),
]


@pytest.mark.parametrize(("last", "more"), ENDS)
@pytest.mark.parametrize("copied", [False, True])
def test_a_document_without_a_runtime(tmp_path: Path, last: Try, more: dict[str, Any], *, copied: bool) -> None:
    """However a job stands or has ended, its document has the output that was copied, if only nothing, from an offset
    on; it says whether that is all, what went wrong, and what became of each attempt."""
    plan = planned(last, **more)
    if copied:
        folder = job_plans.files(tmp_path, JOB) / "output" / JOB
        folder.mkdir(parents=True)
        for name, content in (("stdout", b"one\ntwo\n"), ("stderr", b"err\n"), (kept_output.ALL, b"")):
            (folder / name).write_bytes(content)
    found = job_views.without_runtime(tmp_path, plan, Store(tmp_path), (4, 0), None)
    job_views.complete(found, plan)
    validate(msgspec.json.decode(msgspec.json.encode(found)), "job")
    assert (found.stdout, found.next_offset) == (("two\n", 8) if copied else ("", 0))
    assert found.job.stdout_bytes == max(last.output[0], 8 if copied else 0)
    assert found.job.output_complete is copied
    assert isinstance(found.attempts, list)
    assert found.attempts[0].cause == last.cause
    assert isinstance(found.error, ErrorInfo) == (found.exit_code not in (0, 124) or plan.state == "waiting")
    if plan.state == "pausing":  # the offsets are those of the attempt that is over
        assert str(found.next).endswith(f"--from {found.next_offset} --attempt 1")


def test_results_that_went_with_their_runtime(tmp_path: Path) -> None:
    """A job that has finished fails if nobody knows whether all of its results were fetched, and says how to go on; one
    whose last generation is here does not."""
    fetched = pulling.Pulling(owner=JOB, results=[pulling.Result("out", str(tmp_path / "out"))], every=60.0)
    plan = planned(tried(cause="finished"), state="ended", pulling=fetched)
    store = Generations(tmp_path / "out")
    with store.alone(0.0):
        (tmp_path / ".out.lecoder-part" / "staging").mkdir()
        store.commit(Manifest(owner=JOB, number=1, at="", path="out", folder=True, lines=[]))
    found = job_views.without_runtime(tmp_path, plan, Store(tmp_path), None, None)
    job_views.complete(found, plan)
    assert (found.exit_code, found.error.name, found.pulled[0].generation) == (74, "PullFailed", 1)  # type: ignore[index]
    assert f"job retry {JOB}" in str(found.error.suggestion)  # type: ignore[union-attr]
    noted = pull_plans.PullPlan(run=JOB, session="s", specs=["out"], pulling=fetched, tried=1.0)
    for whole, last in ((False, pull_plans.over(noted, 2.0, "gone")), (True, structs.replace(noted, ended=True))):
        pull_plans.write(tmp_path, last)
        found = job_views.without_runtime(tmp_path, plan, Store(tmp_path), None, None)
        assert (found.exit_code == 0) is whole


def test_stored_secrets(tmp_path: Path) -> None:
    """They lie in a file of their own until the job has ended, however it does."""
    job_plans.keep_secrets(tmp_path, JOB, {"TOKEN": "abc-def"})
    job_plans.write(tmp_path, planned(tried(), state="pausing"))
    (stored,) = (tmp_path / "jobs").glob("*.secrets")
    assert (stored.stat().st_mode & 0o077, job_plans.stored_secrets(tmp_path, JOB)) == (0, {"TOKEN": "abc-def"})
    assert "abc-def" not in (tmp_path / "jobs" / f"{JOB}.json").read_text()
    job_plans.write(tmp_path, planned(tried(), state="ended"))
    assert (stored.exists(), job_plans.stored_secrets(tmp_path, JOB)) == (False, {})
