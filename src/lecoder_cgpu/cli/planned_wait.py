"""`job wait` for a job that may be run again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..models.base import ErrorInfo
from ..models.jobs import JobDocument
from ..runs import planned_jobs
from ..runs.job_plans import JobPlan
from . import hook, release
from .live import tell_pulled

if TYPE_CHECKING:
    from .app import App


def wait(app: App, plan: JobPlan, timeout: float | None, pull: tuple[str, ...], options: dict[str, Any]) -> JobDocument:
    """`job wait`: what became of a job, and what was done about it.

    Args:
        timeout: seconds to wait at most. pull: further results. options: of the command, with `offsets` to show from.
    """
    on_finish: str | None = options["on_finish"]

    def event(document: JobDocument) -> None:
        hook.restarting(app.printer, on_finish, document, app.config.profile.name)

    waiting = planned_jobs.Waiting(app.client, plan, app.printer.notify, event)
    with app.printer.waiting(f"waiting for {plan.job} …"):
        plan = waiting.wait(timeout)
    offsets = None if app.printer.mode == "human" else options["offsets"]
    most, counted = options["max_output"] or None, options["attempt"]
    document, session = planned_jobs.ended(app.client, plan, pull, offsets, most, counted)
    if waiting.interrupted is not None:
        document.interrupted, document.exit_code = True, waiting.interrupted
    if app.printer.mode == "human":
        tell_pulled(app.printer, document.pulled)
        if (session is None or plan.state == "waiting") and isinstance(document.error, ErrorInfo):
            app.printer.note(f"{document.error.message}\nhint: {document.error.suggestion}")
        elif plan.state == "ended" and plan.why:
            app.printer.note(f"not run again: {plan.why}")
    hook.finish(app.printer, on_finish, document, plan.job, app.config.profile.name)
    if options["give_back"] and session is not None:
        release.after_results(app.printer, app.client, session, document, plan.last.run)
    return document
