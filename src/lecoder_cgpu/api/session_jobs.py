"""Jobs of a session: work on its runtime that goes on without this program."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from msgspec import structs

from .. import errors, results
from ..helper.launch import Launch
from ..jupyter.kernelspecs import PYTHON
from ..jupyter.messages import new_run_id
from ..runs import all_jobs, job_names, jobs, planned_jobs, pushed, records
from ..runs.attempts import Policy
from ..runs.kept_jobs import KeptJob, Order
from ..runs.scripts import around
from ..sessions import free_tier
from .job import Job
from .limits import Never, limits
from .session_commands import CommandMethods, check_command, shown

if TYPE_CHECKING:
    from ..models.jobs import JobStarted as Started
    from ..results import JobInfo, JobStarted
    from ..sessions.session import Session as Held

__all__ = ["JobMethods"]


class JobMethods(CommandMethods):
    """What a session does with jobs."""

    def job(
        self,
        command: str | Sequence[str],
        *,
        key: str | None = None,
        name: str | None = None,
        cwd: str | None = None,
        environment: Mapping[str, str] | None = None,
        secrets: Mapping[str, str] | None = None,
        timeout: float | None = None,
        idle_timeout: float | None = None,
        sync: str | Path | None = None,
        pull: Sequence[str] | None = None,
        every: float | None = None,
        pull_when: str | None = None,
        push: Sequence[str] = (),
        restarts: int | Literal["unlimited"] = 0,
        retries: int = 0,
        retry_on: Sequence[int] = (),
        store_secrets: bool = False,
        understands_free_tier: bool = False,
        max_runtime: float | Never | None = None,
        max_units: float | Never | None = None,
    ) -> Job:
        """Start a command that goes on without this program.

        Args:
            key: with a key, the same command is started once, however often this is called.
            name: what `find_job` may call it.
            pull: results (`PATH[:LOCAL]`) that `Job.wait` fetches. every: seconds; the keeper fetches them again and
                again while the job runs, each time a whole copy of one moment. pull_when: a pattern; they are fetched
                when a file of that name has come or has changed there.
            push: `PATH:DEST`: the runtime itself copies that to a folder of its own, such as a mounted Drive, or to
                `hf://OWNER/NAME`, a repository of the Hugging Face Hub.
            restarts: run it again on another runtime when its own is lost, up to so often; `unlimited` needs a limit.
            retries: run it again when it has failed itself; only after one of these exit statuses with `retry_on`.
            store_secrets: keep the secrets of a job that may be run again here (0600) until it has ended.
            understands_free_tier: the terms restrict restarts on a free account, and that is known.
            max_runtime, max_units: limits over all attempts, see `Client.session`.
            cwd, environment, secrets, timeout, idle_timeout, sync: see `shell`.

        Raises:
            errors.UsageError: (`KeyConflict`) the key was used with other input; (`FreeTier`) restarts on a free
                account were not agreed to. errors.Error: nothing was started.
        """
        if (every is not None and not (pull or push)) or (pull_when is not None and not pull):
            raise errors.UsageError(
                "every and pull_when say how often pull fetches", hint="add pull=['PATH'], or leave them out"
            )
        if restarts == "unlimited" and max_runtime is None and max_units is None:
            raise errors.UsageError(
                "restarts='unlimited' needs a limit on time or cost", name="NoLimit", hint="add max_runtime=86400"
            )
        order = Order(
            key=key,
            name=name,
            sync=None if sync is None else str(sync),
            cwd=cwd,
            timeout=timeout,
            idle_timeout=idle_timeout,
            pull=pull or (),
            policy=Policy(
                restarts=None if restarts == "unlimited" else restarts, retries=retries, retry_on=frozenset(retry_on)
            ),
            limits=limits(max_runtime=max_runtime, max_units=max_units),
            push=tuple(push),
            every=every,
            store_secrets=store_secrets,
            understood=understands_free_tier,
        )
        if store_secrets and not (order.policy and secrets):
            raise errors.UsageError(
                "store_secrets keeps the secrets of a job that may be run again", hint="leave it out, or add restarts=5"
            )
        return Job(self, self._start(command, order, environment, secrets, pull_when).job_id)

    def start(
        self,
        command: str | Sequence[str],
        *,
        key: str | None = None,
        cwd: str | None = None,
        environment: Mapping[str, str] | None = None,
        secrets: Mapping[str, str] | None = None,
        timeout: float | None = None,
        pull: Sequence[str] | None = None,
        restarts: int = 0,
    ) -> JobStarted:
        """Start a job as `job` does, and return the document that `run --detach` prints."""
        policy = Policy(restarts=restarts)
        order = Order(key=key, cwd=cwd, timeout=timeout, pull=pull or (), policy=policy)
        return results.of(self._start(command, order, environment, secrets, None))

    def _start(
        self,
        command: str | Sequence[str],
        order: Order,
        environment: Mapping[str, str] | None,
        secrets: Mapping[str, str] | None,
        pull_when: str | None,
    ) -> Started:
        from ..files import pulling, sending

        check_command(command)
        if order.name is not None:
            job_names.check(order.name)
        sending.check(order.sync, order.pull)
        pushes = pushed.declared(order.push)
        pushed.check(pushes, secrets or {}, order.every)
        if order.pull and (order.every is not None or pull_when is not None):
            every = order.every or pulling.LOOK
            order = replace(order, pulling=pulling.declared(order.pull, every, new_run_id(), pull_when))
        words = command if isinstance(command, str) else list(command)
        variables, hidden = dict(environment or {}), dict(secrets or {})
        kept = KeptJob(self._client.look_anew(), order)
        work = kept.work(words, variables, hidden)
        if (earlier := kept.earlier(work)) is not None:
            return earlier
        with self._hold() as held:
            if order.policy.restarts != 0 and not order.understood and free_tier.needs_agreement(held.backend):
                raise errors.UsageError(
                    f"{free_tier.ONE_AFTER_THE_OTHER}; nothing was started",
                    name="FreeTier",
                    hint="add understands_free_tier=True, for --i-understand-free-tier, if you may; or no restarts",
                )
            folder = order.cwd
            if order.sync is not None:
                source = kept.sources(str(Path(order.sync).expanduser()))
                _, folder = sending.send(held, order.sync, order.cwd, source=source)
            launch = Launch(
                cwd=folder,
                environment=variables | kept.variables(held),
                secrets=hidden,
                timeout=order.timeout,
                idle_timeout=order.idle_timeout,
                name=order.name,
                pull=list(order.pull) or None,
                push=pushes,
                push_every=order.every,
                run_id=kept.job,
            )
            document = jobs.start(held, words, launch, key=order.key)
            kept.write(held, work, folder)
            if order.pulling is not None:
                wanted = structs.replace(order.pulling, folder=folder)
                sending.leave_to_keeper(self._client, held, wanted, order.pull, document.job_id)
            self._note_job(held, document, shown(command), "terminal", hidden)
        return document

    def start_code(
        self,
        code: str,
        *,
        key: str | None = None,
        name: str | None = None,
        timeout: float | None = None,
        idle_timeout: float | None = None,
        filename: str | None = None,
        arguments: Sequence[str] = (),
        pull: Sequence[str] | None = None,
    ) -> Job:
        """Have the session's kernel execute code without this program, after what it executes now.

        Args:
            key, name, pull: see `job`. filename, arguments: see `run`.

        Raises:
            errors.UsageError: (`KeyConflict`) the key was used with other input, or (`NotRecordable`) nobody on the
                runtime could send it. errors.Error: nothing was started.
        """
        launch = Launch(timeout=timeout, idle_timeout=idle_timeout, name=name, pull=list(pull or ()) or None)
        if name is not None:
            job_names.check(name)
        with self._hold() as held:
            if (filename is not None or arguments) and held.language() == PYTHON:
                launch = structs.replace(launch, around=around(filename or "-", tuple(arguments)))
            document = jobs.start_in_kernel(held, code, launch, key=key)
            self._note_job(held, document, code, "kernel", {})
        return Job(self, document.job_id)

    def find_job(self, job_id: str) -> Job:
        """Find a job that was started earlier, from any machine: by its id, a unique prefix of it, its name or its key.

        Raises:
            errors.NotFoundError: the runtime does not know it.
        """
        plan = planned_jobs.find(self._client, job_id, self.id)
        if plan is not None:
            return Job(self, plan.job)
        with self._jobs() as known:
            return Job(self, known.find(job_id).run)

    def jobs(self, limit: int = 50) -> list[JobInfo]:
        """The newest jobs on the runtime, and those of this machine that wait for another runtime."""
        with self._jobs() as known:
            document = all_jobs.of(known, limit)
        document = planned_jobs.listed(self._client, document, everywhere=False, session=self.id)
        return [results.of(job) for job in document.jobs]

    def _note_job(
        self,
        held: Held,
        document: Started,
        command: str,
        mode: Literal["kernel", "terminal"],
        secrets: Mapping[str, str],
    ) -> None:
        """Write a job down in the history. That this fails is told, and spoils no job."""
        try:
            records.remember_job(held, document, command, mode, secrets=list(secrets.values()))
        except errors.ConfigError as error:
            held.notify(f"the job was not written to the history: {error.message}")
        held.used()
