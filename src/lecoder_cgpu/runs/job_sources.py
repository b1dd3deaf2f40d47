"""The files that a job is sent with: kept here as they were for the first attempt, and sent again for each other."""

from __future__ import annotations

import os
import shutil
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from .. import errors
from ..files import plan, pulling, snapshot, withheld
from ..files.commands import Storage
from ..system import atomic_files
from . import installs, job_plans

if TYPE_CHECKING:
    from ..sessions.session import Session
    from .job_plans import JobPlan, Work

FOLDER = "scripts"  # below the folder of this tool on the runtime


def keep(state_dir: Path, job: str, local: str) -> str:
    """Copy what a sync would send of a folder; returns the copy.

    Raises:
        errors.Error: it cannot be read, or there is no room.
    """
    return snapshot.take(local, atomic_files.ensure_dir(job_plans.files(state_dir, job) / "code"))


def keep_script(state_dir: Path, job: str, name: str, content: bytes) -> None:
    """Keep a script that is sent alone.

    Raises:
        errors.ConfigError: there is no room.
    """
    atomic_files.write_atomic(job_plans.files(state_dir, job) / "script" / name, content)


def send_script(session: Session, path: Path, content: bytes) -> str:
    """Send a script alone, into the folder of this tool on the runtime, under its own name; returns its path there.
    What lies in the working folder there stays as it is.

    Raises:
        errors.Error: it was not sent.
    """
    digest = sha256(content).hexdigest()[:12]
    helper = session.connect_helper()
    try:
        home = helper.hello().home
    finally:
        helper.close()
    target = f"{home}/{FOLDER}/{digest}/{path.name}"
    with Storage(session) as opened:
        opened.upload([str(path)], target)
    return target


class Sent(NamedTuple):
    """What an attempt needs on the runtime: its command, the folder to run in, and what is to be put in place when it
    starts (see `Launch.place`)."""

    command: str | list[str]
    folder: str | None
    place: list[tuple[str, str]]


def send(session: Session, job_plan: JobPlan, nonce: str | None = None) -> Sent:
    """Send what an attempt needs, and install its packages.

    Args:
        nonce: send the folder beside its place, see `pulling.staged`.

    Raises:
        errors.Error: not all of it was sent.
    """
    work, kept = job_plan.work, job_plans.files(session.store.folder, job_plan.job)
    folder, place = work.cwd, []
    if work.sync is not None:
        local = kept / "code" / work.sync
        if not local.is_dir():
            raise errors.NotFoundError(
                f"the files that {job_plan.job} was sent with were not kept here",
                name="FilesNotKept",
                hint=f"send the folder as it is now: lecoder-cgpu job retry {job_plan.job} --sync",
            )
        with Storage(session) as opened:
            beside = work.sync if nonce is None else pulling.staged(work.sync, nonce)
            remote = opened.sync(str(local), beside).remote
        if nonce is not None:
            beside, remote = remote, plan.remote_join(remote.rpartition("/")[0], work.sync)
            place.append((beside, remote))
        folder = plan.under(remote, work.cwd or "")
    if work.packages:
        _install(session, work)
    if work.script is None:
        return Sent(work.command, folder, place)
    path = kept / "script" / work.script
    try:
        content = path.read_bytes()
    except OSError as error:
        raise errors.NotFoundError(
            f"the script that {job_plan.job} was sent with was not kept here",
            name="FilesNotKept",
            hint="repeat the same command that started it",
        ) from error
    assert not isinstance(work.command, str)
    return Sent(["python", send_script(session, path, content), *work.command[1:]], folder, place)


def _install(session: Session, work: Work) -> None:
    done = installs.install(session, installs.Wanted(requirements=work.packages), lambda stream, content: None)
    if done.exit_code:
        raise errors.ImportFailure(
            f"{', '.join(work.packages)} could not be installed",
            name="InstallFailed",
            hint=f"what the installer said: lecoder-cgpu logs show {done.run_id} --output",
        )


def renew(state_dir: Path, job_plan: JobPlan, source: str) -> None:
    """Keep a folder as it is now, in place of the files that a job was sent with.

    Raises:
        errors.UsageError: the job was started without a folder. errors.Error: it cannot be read.
    """
    work = job_plan.work
    if work.source is None:
        raise errors.UsageError(
            f"{job_plan.job} was started without --sync, so no files are sent for it", hint="leave out --sync"
        )
    for path in work.withheld:
        withheld.add(path)
    shutil.rmtree(job_plans.files(state_dir, job_plan.job) / "code", ignore_errors=True)
    kept = keep(state_dir, job_plan.job, source)
    if Path(kept).name != work.sync:
        os.rename(kept, Path(kept).with_name(work.sync or ""))
