"""`run --detach`: what is kept here of a job, so that it can be run again (`--restarts`, `--retries`, `job retry`)."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from msgspec import UNSET, structs

from .. import errors
from ..jupyter.messages import new_run_id
from ..models.jobs import JobStarted
from ..runs import job_names, job_plans, job_sources, job_steps, job_views, pushed, stored_work
from ..runs.attempts import Policy
from ..runs.job_plans import JobPlan, Work
from ..sessions import keeper_process

if TYPE_CHECKING:
    from ..backends.protocol import RuntimeRequest
    from ..files.pulling import Pulling
    from ..sessions.session import Session
    from .app import App
    from .local_script import Script


class KeptJob:
    """One detached command.

    Args:
        policy: when it is run again by itself; None for never. pulling: what is fetched of it.
        wants: whose limits hold over all attempts.
    """

    def __init__(
        self,
        app: App,
        options: Mapping[str, Any],
        policy: Policy | None,
        pulling: Pulling | None,
        wants: RuntimeRequest,
    ) -> None:
        self._app = app
        self._options = options
        self._policy = policy or Policy()
        self._pulling = pulling
        self._limits = wants.limits
        self._folder = app.client.state_dir
        self._secrets: Mapping[str, str] = {}
        key = options["key"]
        self.job = new_run_id() if key is None else job_names.key_id(key)

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
        document = job_views.document(plan, self._app.client.store)
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
        self, command: str | list[str], environment: dict[str, str], secrets: Mapping[str, str], needs: Script | None
    ) -> Work:
        """What every attempt is started with, as it is kept. `needs` is the script whose packages are installed before.

        Args:
            secrets: values by name, which are stored nowhere.
        """
        from ..files import withheld

        self._secrets = secrets
        options = self._options
        source = options["sync"] and os.path.abspath(os.path.expanduser(options["sync"]))
        whole = Work(
            command=command,
            typed=command,
            source=source,
            packages=[] if needs is None else list(needs.header.dependencies),
            cwd=options["cwd"],
            environment=environment,
            secrets=sorted(secrets),
            push=pushed.declared(options["push"]),
            push_every=options["every"] or pushed.EVERY,
            withheld=withheld.paths(),
            timeout=options["timeout"],
            idle_timeout=options["idle_timeout"],
        )
        return stored_work.without_values(whole, secrets)

    def write(self, session: Session, work: Work, folder: str | None, script: Script | None) -> None:
        """Keep what was started just now, and have the keeper look after it. A failure is told: the job runs.

        Args:
            folder: there, where it runs. script: one that was sent alone.
        """
        try:
            self._write(session, work, folder, script)
        except errors.ConfigError as error:
            self._app.printer.notify(f"the job was started, and cannot be run again: {error.message}")

    def _write(self, session: Session, work: Work, folder: str | None, script: Script | None) -> None:
        from pathlib import Path

        from ..files import plan as files

        if work.source is not None:
            work.sync = files.source_name(work.source)
        if script is not None:
            work.script = Path(script.path).name
            work.command = [work.script, *script.arguments]
            job_sources.keep_script(self._folder, self.job, work.script, script.content)
        now, name = time.time(), self._options["name"] or self._options["key"]
        job_plans.tidy(self._folder, now)
        job_plans.go_on(self._folder, self.job)
        plan = JobPlan(
            job=self.job,
            name=name,
            work=stored_work.without_values(work, self._secrets),
            folder=folder,
            policy=self._policy,
            limits=structs.replace(self._limits, idle=UNSET),
            pulling=self._pulling,
            specs=list(self._options["pull"]),
            tries=[job_steps.attempt(session, self.job, now)],
            changed=now,
        )
        job_plans.write(self._folder, plan)
        if not plan.kept:
            return
        printer = self._app.printer
        if self._app.config.get("keeper").value == "off":
            printer.notify("the keeper is switched off: the job is run again only while `job wait` watches it")
        else:
            keeper_process.ensure(self._app.config, self._folder, printer.notify)


def _input(work: Work) -> tuple[Any, ...]:
    return work.typed, work.cwd, work.environment, work.secrets, work.push, work.timeout, work.idle_timeout
