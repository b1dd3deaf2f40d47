"""What is kept here of a job, so that it can be run again (`--restarts`, `--retries`, `job retry`)."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from msgspec import UNSET, structs

from .. import errors
from ..jupyter.messages import new_run_id
from ..models.jobs import JobStarted
from ..store.leases import Limits
from . import job_names, job_plans, job_sources, job_steps, job_views, pushed, stored_work
from .attempts import Policy
from .job_plans import JobPlan, Work

if TYPE_CHECKING:
    from ..files.pulling import Pulling
    from ..sessions.manager import SessionManager
    from ..sessions.session import Session


NEVER, UNCHANGED = Policy(), Limits()


class Script(Protocol):
    """A script of this machine that was sent alone: where it was, what it holds, and its arguments."""

    @property
    def path(self) -> str: ...
    @property
    def content(self) -> bytes: ...
    @property
    def arguments(self) -> list[str]: ...


@dataclass(frozen=True, kw_only=True)
class Order:
    """A job as it was ordered. `sync` is the local folder that it needs, `pull` and `push` are results as typed,
    `every` is their interval in seconds, `policy` says when it is run again by itself, `pulling` what is fetched
    meanwhile; `limits` hold over all attempts. `store_secrets` keeps the values of secrets here until the job ends,
    `understood` tells that the user knows what terms say of restarts on free accounts.
    """

    key: str | None = None
    name: str | None = None
    sync: str | None = None
    cwd: str | None = None
    timeout: float | None = None
    idle_timeout: float | None = None
    pull: Sequence[str] = ()
    push: Sequence[str] = ()
    every: float | None = None
    policy: Policy = NEVER
    pulling: Pulling | None = None
    limits: Limits = UNCHANGED
    store_secrets: bool = False
    understood: bool = False


class KeptJob:
    """One detached command."""

    def __init__(self, manager: SessionManager, order: Order) -> None:
        self._manager = manager
        self._order = order
        self._policy = order.policy
        self._folder = manager.state_dir
        self._secrets: Mapping[str, str] = {}
        self.job = new_run_id() if order.key is None else job_names.key_id(order.key)

    def earlier(self, work: Work) -> JobStarted | None:
        """The same job, if it was started before under its key and is looked after since.

        Raises:
            errors.UsageError: (`KeyConflict`) the key was used with other input.
        """
        plan = job_plans.read(self._folder, self.job)
        if plan is None or not plan.kept:
            return None
        if _input(stored_work.without_values(plan.work, self._secrets)) != _input(work):
            raise errors.UsageError(
                f"job {plan.job} was started under that key with other input",
                name="KeyConflict",
                hint="give another --key, or the same command as before",
            )
        document = job_views.document(plan, self._manager.store)
        return JobStarted(
            job_id=plan.job,
            job=document.job,
            session=document.session,
            next=f"lecoder-cgpu job wait {plan.job}",
        )

    def sources(self, folder: str) -> str | None:
        """The local folder to send: a copy that later attempts get, too; None for the folder itself."""
        if not self._policy:
            return None
        job_plans.remove(self._folder, self.job)  # what a start that was cut off has left
        return job_sources.keep(self._folder, self.job, folder)

    def variables(self, session: Session) -> dict[str, str]:
        """What the command finds in its environment."""
        if not self._policy:
            return {}
        helper = session.connect_helper()
        try:
            home = helper.hello().home
        finally:
            helper.close()
        return job_steps.own_variables(self.job, self.job, 1, home)

    def work(
        self,
        command: str | list[str],
        environment: dict[str, str],
        secrets: Mapping[str, str],
        packages: Sequence[str] = (),
    ) -> Work:
        """What every attempt is started with, as it is kept.

        Args:
            secrets: values by name, which are stored nowhere. packages: those that are installed before.
        """
        from ..files import withheld

        self._secrets = secrets
        order = self._order
        source = order.sync and os.path.abspath(os.path.expanduser(order.sync))
        whole = Work(
            command=command,
            typed=command,
            source=source,
            packages=list(packages),
            cwd=order.cwd,
            environment=environment,
            secrets=sorted(secrets),
            stores_secrets=order.store_secrets,
            push=pushed.declared(order.push),
            push_every=order.every,
            withheld=withheld.paths(),
            timeout=order.timeout,
            idle_timeout=order.idle_timeout,
        )
        return stored_work.without_values(whole, secrets)

    def write(self, session: Session, work: Work, folder: str | None, script: Script | None = None) -> None:
        """Keep what was started just now, and have the keeper look after it. A failure is told: the job runs.

        Args:
            folder: there, where it runs. script: one that was sent alone.
        """
        try:
            self._write(session, work, folder, script)
        except errors.ConfigError as error:
            self._manager.notify(f"the job was started, and cannot be run again: {error.message}")

    def _write(self, session: Session, work: Work, folder: str | None, script: Script | None) -> None:
        from ..files import plan as files

        if work.source is not None:
            work.sync = files.source_name(work.source)
        if script is not None:
            work.script = Path(script.path).name
            work.command = [work.script, *script.arguments]
            job_sources.keep_script(self._folder, self.job, work.script, script.content)
        now, name = time.time(), self._order.name or self._order.key
        job_plans.tidy(self._folder, now)
        job_plans.go_on(self._folder, self.job)
        plan = JobPlan(
            job=self.job,
            name=name,
            work=stored_work.without_values(work, self._secrets),
            folder=folder,
            policy=self._policy,
            limits=structs.replace(self._order.limits, idle=UNSET),
            understood=self._order.understood,
            pulling=self._order.pulling,
            specs=list(self._order.pull),
            tries=[job_steps.attempt(session, self.job, now)],
            changed=now,
        )
        if work.stores_secrets and self._secrets:
            job_plans.keep_secrets(self._folder, self.job, self._secrets)
        job_plans.write(self._folder, plan)
        if not plan.kept:
            return
        manager = self._manager
        if manager.config.get("keeper").value == "off":
            manager.notify("the keeper is switched off: the job is run again only while `job wait` watches it")
        else:
            manager.keep()


def _input(work: Work) -> tuple[Any, ...]:
    return work.typed, work.cwd, work.environment, work.secrets, work.push, work.timeout, work.idle_timeout
