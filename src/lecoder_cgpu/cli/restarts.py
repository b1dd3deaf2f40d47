"""`--restarts` and `--retries`: the same command once more, elsewhere if its runtime was lost.

`runs/attempts.py` decides. Another attempt has the files that were sent for the first one, the newest generation of its
results (after a loss), the same command and folder, and these variables: `LECODER_CGPU_JOB_ID`, the same for all
attempts, `LECODER_CGPU_ATTEMPT`, from 1, and `LECODER_CGPU_RESUME=1` if a generation was put back.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import UNSET, structs

from .. import errors
from ..backends.protocol import Leased
from ..jupyter.messages import new_run_id
from ..models.base import ErrorInfo
from ..models.runs import Attempt, Stopped
from ..runs import attempts, losses
from ..runs.attempts import Past, Policy
from ..sessions import free_tier
from ..sessions.session import Session
from ..store import leases, rates
from ..system import logs
from .free_tier import OPTION

if TYPE_CHECKING:
    import tempfile

    from ..backends.protocol import RuntimeRequest
    from ..files.pulling import Pulling
    from ..models.runs import Run
    from .app import App

# The options of `run` that a job's `Order` takes as they are.
ORDERED = {"key", "name", "sync", "cwd", "timeout", "idle_timeout", "pull", "push", "every"}
ORDERED |= {"store_secrets", "understood"}
VERDICT_PAUSE = 3.0  # seconds between two questions


def options(function: Any) -> Any:
    """Add the options to `run`."""
    import click

    for option in (
        click.option(
            "--retry-on", multiple=True, type=click.IntRange(1, 255), metavar="STATUS",
            help="With --retries: only after this exit status. May be repeated.",
        ),
        click.option(
            "--retries", type=click.IntRange(min=0), default=0, metavar="NUMBER",
            help="Run it again, at most this many times, when the program itself has failed.",
        ),
        click.option(
            "--restarts", default="0", metavar="NUMBER",
            help="When the runtime is lost, run it on another, at most this many times; `unlimited` needs a limit.",
        ),
        click.option(
            "--store-secrets", is_flag=True,
            help="With --detach --restarts: keep the values of secrets here (0600) until the job has ended.",
        ),
        click.option(
            OPTION, "understood", is_flag=True, help="Go on although Colab's terms restrict it.",
        ),
        click.option("--no-restarts", is_flag=True, help="The same as --restarts 0, which is the default."),
    ):  # fmt: skip
        function = option(function)
    return function


def policy(options: dict[str, Any], *, kernel: bool) -> Policy | None:
    """What the options allow; None if every run is to be the only one.

    Raises:
        errors.UsageError: they make no sense together.
    """
    limited = options["max_units"] is not None or options["max_runtime"] is not None
    text = options["restarts"]
    if options["no_restarts"]:
        if text != "0":
            raise errors.UsageError(
                f"--restarts {text} and --no-restarts contradict each other",
                name="ConflictingOptions",
                hint="leave out --no-restarts or --restarts",
            )
        text = "0"
    if text == "unlimited":
        if not limited:
            raise errors.UsageError(
                "--restarts unlimited needs a limit on time or cost, over all attempts",
                name="NoLimit",
                hint="add --max-runtime 24h, or --max-units 50",
            )
        restarts = None
    elif text.isascii() and text.isdigit() and len(text) < 5:
        restarts = int(text)
    else:
        raise errors.UsageError(
            f"--restarts {text!r} is neither a number nor `unlimited`",
            hint="--restarts 5: another runtime, up to 5 times",
        )
    found = Policy(restarts=restarts, retries=options["retries"], retry_on=frozenset(options["retry_on"]))
    if options["retry_on"] and not options["retries"]:
        raise errors.UsageError("--retry-on says which failures --retries tries again", hint="add --retries NUMBER")
    secrets = options["secret"] or options["secrets_file"]
    if options["store_secrets"] and not (found and options["detach"] and secrets):
        raise errors.UsageError(
            "--store-secrets keeps the secrets of a job that may be run again",
            name="ConflictingOptions",
            hint="leave it out, or: run --detach --restarts 5 --secret NAME --store-secrets COMMAND",
        )
    if not found:
        return None
    against = {
        "-m kernel": kernel,
        "--attach": options["attach"],
        "--wait": options["wait"] is not None,
        "--on-disconnect detach": options["on_disconnect"] == "detach",
        "--stdin": options["forward_stdin"],
        "--auto-install": options["auto_install"],
    }
    for name, given in against.items():
        if given:
            raise errors.UsageError(
                f"only a command is run again, watched or detached, so --restarts and --retries do not go with {name}",
                name="ConflictingOptions",
                hint=f"leave out {name}, or --restarts and --retries",
            )
    return found


def of(
    app: App, options: dict[str, Any], pulling: Pulling | None, wants: RuntimeRequest, *, kernel: bool
) -> Attempts | None:
    """The attempts of a command that is watched; None if it is to run once, or is detached (`kept_jobs`).

    Raises:
        errors.UsageError: see `policy`.
    """
    allowed = policy(options, kernel=kernel)
    return None if allowed is None or options["detach"] else Attempts(app, allowed, pulling, wants, options)


def _loss(session: Session, document: Run) -> errors.Error:
    """Why there is no end of a run whose runtime is gone."""
    if losses.is_full(document.memory_share):
        used = f"the command ran, and {document.memory_share:.0%} of its memory was in use when it was seen last"
        return session.loss(used, "use less memory, or a machine with more of it: lecoder-cgpu run --high-ram")
    return session.loss("the command ran", "repeat the same command")


def _is_cut_off(document: Run) -> bool:
    """Whether a run has finished, and only its last results were not fetched because its runtime was not there."""
    from ..files.pulling import is_cut_off

    if not (isinstance(document.error, ErrorInfo) and isinstance(document.pulled, list)):
        return False
    return document.error.category == errors.TransferError.category and is_cut_off(document.pulled)


class Attempts:
    """The attempts of one command.

    Args:
        pulling: what is fetched of it. wants: whose limits hold over all attempts. options: of the command.
    """

    def __init__(
        self, app: App, allowed: Policy, pulling: Pulling | None, wants: RuntimeRequest, options: dict[str, Any]
    ) -> None:
        self._app = app
        self._options = options
        self._policy = allowed
        self._pulling = pulling
        self._limits = wants.limits
        self._patience = wants.patience or 0.0
        self.job = pulling.owner if pulling is not None else new_run_id()
        self._past: list[Past] = []
        self._notes: list[Attempt] = []
        self._resumed = False
        self._elsewhere = False  # this attempt is on another runtime than the one before
        self._spent = losses.Spent()  # by the runtimes that were lost
        self._copies: tempfile.TemporaryDirectory[str] | None = None
        self._copy: str | None = None

    # --- what an attempt is given ---

    def sources(self, folder: str) -> str:
        """The local folder to send: a copy, made for the first attempt, which later ones get, too."""
        if self._copy is None:
            import tempfile

            from ..files import snapshot

            self._copies = tempfile.TemporaryDirectory(prefix="lecoder-cgpu-", ignore_cleanup_errors=True)
            self._copy = snapshot.take(folder, Path(self._copies.name))
        return self._copy

    def variables(self, session: Session, folder: str | None) -> dict[str, str]:
        """Put results back where they are needed; returns the variables of this attempt.

        Args:
            folder: there, where the command runs.
        """
        from ..files import pulling

        self._resumed = False
        if self._elsewhere and self._pulling is not None:
            with self._app.printer.waiting("putting back what was fetched …"):
                put = pulling.restore(session, structs.replace(self._pulling, folder=folder))
            self._resumed = bool(put)
        found = {"LECODER_CGPU_JOB_ID": self.job, "LECODER_CGPU_ATTEMPT": str(len(self._past) + 1)}
        return found | ({"LECODER_CGPU_RESUME": "1"} if self._resumed else {})

    # --- one after the other ---

    def run(
        self,
        session: Session,
        once: Callable[[Session], Run],
        record: Callable[[Session, Run], None],
        fetch: Callable[[Session, Run], None],
    ) -> tuple[Session, Run]:
        """Run it until there is no other attempt; returns the last one's session and document.

        Args:
            once: one attempt. record: writes an attempt down that is followed by another. fetch: fetches the last
                results of one that has finished: should its runtime go before, it is lost.
        """
        try:
            while True:
                before = self._generations()
                document = self._started(session, once)
                if document.status == "ok":
                    fetch(session, document)
                self._past.append(self._judged(session, document, before))
                decision = attempts.decide(self._policy, self._past)
                lost = self._past[-1].cause == "lost"
                if decision.again and lost and not self._within_limits(session):
                    decision = attempts.Decision(False, "the limit over all attempts is reached")
                elif decision.again and lost and self._needs_agreement(session):
                    decision = attempts.Decision(False, f"{free_tier.ONE_AFTER_THE_OTHER} ({OPTION})")
                elif decision.again and lost and (why := self._cannot_pay(session)) is not None:
                    decision = attempts.Decision(False, why)
                if self._past[-1].cause in ("lost", "oom") and document.status == "unknown":
                    document.fail(_loss(session, document), "unknown")  # whatever was met first, it is certain by now
                self._note(session, document)
                if not decision.again:
                    if decision.why:
                        self._app.printer.notify(f"not run again: {decision.why}")
                    break
                record(session, document)
                self._tell(document, decision.pause, lost=lost)
                time.sleep(decision.pause)
                self._elsewhere = lost
                if lost:
                    session = self._another(session)
        finally:
            if self._copies is not None:
                self._copies.cleanup()
        document.attempts = self._notes
        return session, document

    def _started(self, session: Session, once: Callable[[Session], Run]) -> Run:
        """An attempt. A later one waits for a machine as long as none is free."""
        pause, longest = attempts.CAPACITY_PAUSES
        until = time.monotonic() + attempts.CAPACITY_LIMIT
        while True:
            document = once(session)
            error = document.error
            refused = isinstance(error, ErrorInfo) and error.category == errors.CapacityError.category
            if not (refused and self._past and document.run_id is UNSET and time.monotonic() < until):
                return document
            self._app.printer.notify(f"no other runtime is free; asking again in {leases.duration(round(pause))}")
            time.sleep(pause)
            pause = min(2 * pause, longest)
            session.terms = structs.replace(session.terms, replace=True)

    def _tell(self, document: Run, pause: float, *, lost: bool) -> None:
        number = len(self._past) + 1
        if lost:
            what = "its runtime was lost; another one is asked for"
        else:
            what = f"it ended with status {document.exit_code}; it is run again"
        self._app.printer.notify(f"{what} in {leases.duration(round(pause, 1))}: attempt {number} of job {self.job}")

    def _generations(self) -> int:
        if self._pulling is None:
            return 0
        from ..files.pulling import newest

        return newest(self._pulling)

    # --- what became of it ---

    def _judged(self, session: Session, document: Run, before: int) -> Past:
        ran = document.timing.duration_ms / 1000 if document.timing is not UNSET else 0.0
        error = document.error if isinstance(document.error, ErrorInfo) else None
        cause: attempts.Cause = "failed"
        if document.status == "ok":
            cause = "finished"
        elif isinstance(document.stopped, Stopped) and document.interrupted is not True:
            cause = losses.ended_by(document.stopped)
        elif document.timed_out is True:
            cause = "limit"
        elif document.status == "running" or document.interrupted is True:
            cause = "killed"
        elif document.status == "unknown" or document.run_id is UNSET:
            cause = self._verdict(session, document, error)
        elif _is_cut_off(document):
            cause = self._verdict(
                session, document, error
            )  # it has finished, and another attempt may bring its results
        return Past(
            cause=cause,
            ran=ran,
            fresh=self._generations() > before,
            exit_code=document.exit_code,
            error=error.name if error is not None else "",
        )

    def _verdict(self, session: Session, document: Run, error: ErrorInfo | None) -> attempts.Cause:
        """What became of an attempt whose end we have not seen, or that could not be started."""
        otherwise: attempts.Cause = "unknown" if document.status == "unknown" else "refused"
        if _is_cut_off(document):
            otherwise = "failed"
        if error is None or error.category not in (errors.LostError.category, errors.ConnectionFailed.category):
            return "limit" if error is not None and error.category == errors.BudgetError.category else otherwise
        if not isinstance(session.backend, Leased):
            return otherwise  # the program may live on when the server of a machine that stays has died
        until = time.monotonic() + losses.VERDICT
        while True:
            found = losses.fate(session)
            if found is not None:
                return "oom" if found == "lost" and losses.is_full(document.memory_share) else found
            if time.monotonic() > until:
                return otherwise
            time.sleep(VERDICT_PAUSE)

    def _note(self, session: Session, document: Run) -> None:
        past = self._past[-1]
        note = Attempt(number=len(self._past), cause=past.cause, resumed=self._resumed)
        note.session, note.accelerator = session.record.name, session.record.runtime.accelerator
        note.run_id = document.run_id
        if document.timing is not UNSET:
            note.timing = document.timing
        if past.cause in ("finished", "failed"):
            note.exit_code = document.exit_code
        if past.cause != "finished" and isinstance(document.error, ErrorInfo):
            note.error = document.error
        if document.stdout:
            note.stdout = document.stdout
        if document.stderr:
            note.stderr = document.stderr
        self._notes.append(note)

    # --- the next runtime ---

    def _another(self, session: Session) -> Session:
        """The same session, which asks for another runtime of its kind when it is used."""
        record = self._app.client.store.get(session.record.id) or session.record
        session.close()
        following = self._app.client.hold(record)
        following.secrets = session.secrets
        following.terms = structs.replace(following.terms, patience=self._patience, replace=True)
        return following

    def _needs_agreement(self, session: Session) -> bool:
        """Whether the account has become a free one since the user was asked."""
        return not self._options["understood"] and free_tier.needs_agreement(session.backend)

    def _cannot_pay(self, session: Session) -> str | None:
        short = free_tier.short_of_units(session.backend, session.record, rates.read(self._app.client.state_dir))
        return None if short is None else short[0]

    def _within_limits(self, session: Session) -> bool:
        """Whether the limits over all attempts leave something. The next runtime gets the rest of them."""
        stored = self._app.client.store.get(session.record.id)
        if stored is None:
            return False
        self._spent = self._spent.and_of(stored)
        left = losses.left_of(self._limits, self._spent)
        if left is None:
            return False
        losses.allow(self._app.client.store, stored.id, left)
        logs.current().info("RUN", "limits of the next runtime", {"seconds": left.max_runtime, "units": left.max_units})
        return True
