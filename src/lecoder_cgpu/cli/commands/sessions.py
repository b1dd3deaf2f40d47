"""`sessions`: the stored sessions and what becomes of their runtimes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
from msgspec import UNSET

from ... import errors
from ...models.sessions import SessionAdded, SessionClosed, SessionsClosed, SessionStats, SessionSwitched
from ...sessions import operations
from ...store.session_store import Record
from .. import held, job_text, runtime_options, server_options, session_text
from ..app import App, Group
from ..looks import Cell, Text, good
from ..output import Answer, counted

if TYPE_CHECKING:
    from ...backends.protocol import Leased
    from ...helper.documents import RunState
    from ...models.sessions import SessionDocument


@click.group(cls=Group, name="sessions")
def command() -> None:
    """List, create, add, adopt, switch, rename, restart and close sessions.

    A session is a name for a machine that you use. Plain commands use the active one.

    \b
    lecoder-cgpu sessions list
    lecoder-cgpu sessions ensure train --gpu T4
    lecoder-cgpu sessions close train
    """


@command.command("list")
@click.option("--stats", is_flag=True, help="Only summary statistics.")
@click.pass_obj
def list_(app: App, stats: bool) -> Answer:
    """Show the stored sessions, whether their runtimes answer, and what else the account holds on Colab.

    What Colab holds besides is known only if it answers: where it does not, the exit status says why (74, 77).

    \b
    lecoder-cgpu sessions list
    lecoder-cgpu sessions list --json | jq -r '.[].name'
    """
    documents, unasked = operations.list_sessions(app.client)
    status = unasked[0].exit_status if unasked else 0
    if stats:
        document = _stats(documents, app.account)
        return Answer(document, lambda: _stats_text(document), exit_status=status)
    empty = "" if unasked else session_text.EMPTY
    return Answer(documents, lambda: session_text.table(documents, empty), exit_status=status)


@command.command()
@click.argument("name")
@server_options.server_options
@click.option("--root", metavar="DIR", help="Working folder of a new local runtime.")
@click.option("--force", is_flag=True, help="Replace a session of that name.")
@runtime_options.kernel_option
@click.pass_obj
def add(app: App, /, name: str, root: str | None, force: bool, kernel_name: str | None, **options: Any) -> Answer:
    """Add a Jupyter server or a gateway as a session, or start another local runtime, and make it the active one.

    \b
    lecoder-cgpu sessions add lab --url https://lab.example.org/user/ada/ --token-stdin < token.txt
    lecoder-cgpu sessions add lab --url https://lab.example.org/ --password-stdin < password.txt
    lecoder-cgpu sessions add farm --gateway https://gateway.example.org/ -e KERNEL_USERNAME=ada
    lecoder-cgpu sessions add big --hub https://hub.example.org/ --server big --server-profile a100
    lecoder-cgpu --backend local sessions add scratch --root ~/scratch
    """
    chosen = app.options.get("backend")
    local = root is not None or (chosen is not None and app.client.backend(chosen).takes_folder)
    if local:
        if server_options.given(options):
            raise errors.UsageError(
                f"a local runtime has no {server_options.given(options)[0]}",
                hint=f"leave out {', '.join(server_options.given(options))}; or --root and --backend local",
            )
        session = app.client.add_local(name, root, kernel_name=kernel_name)
    else:
        place, server = server_options.request(name, options)
        session = app.client.add_server(
            name,
            server,
            backend=server_options.BACKENDS[place],
            replace=force,
            kernel_name=kernel_name,
            kernel_id=options["kernel_id"],
        )
    document = SessionAdded(session=operations.inspect(app.client, session.record))
    return Answer(document, lambda: good(f"added {name}; plain commands use it now"))


def _ensure(app: App, name: str, options: dict[str, Any]) -> Answer:
    session, fresh = operations.ensure(app.client, name, runtime_options.wants(options))
    document = SessionAdded(session=operations.inspect(app.client, session.record, answered=fresh), fresh=fresh)
    verb = "started" if fresh else "is there"
    return Answer(document, lambda: good(f"{name} {verb}: {document.session.label}; plain commands use it now"))


@command.command(cls=runtime_options.RuntimeCommand)
@click.argument("name")
@runtime_options.runtime_options(new=False)
@runtime_options.kernel_option
@click.pass_obj
def ensure(app: App, /, name: str, **options: Any) -> Answer:
    """Make sure that there is a session of that name with its runtime, and make it the active one.

    Once or ten times is the same. A GPU is asked for unless an option says otherwise.

    \b
    lecoder-cgpu sessions ensure train --gpu L4,T4 --wait-for-capacity 1h --json
    """
    return _ensure(app, name, options)


@command.command(cls=runtime_options.RuntimeCommand)
@click.argument("name")
@runtime_options.runtime_options(new=False)
@runtime_options.kernel_option
@click.pass_obj
def create(app: App, /, name: str, **options: Any) -> Answer:
    """The same as `ensure`.

    \b
    lecoder-cgpu sessions create train --gpu T4 --idle-release 30m
    """
    return _ensure(app, name, options)


@command.command()
@click.argument("endpoint")
@click.option("--name", required=True, metavar="NAME", help="The session's name.")
@click.pass_obj
def adopt(app: App, endpoint: str, name: str) -> Answer:
    """Take over a Colab runtime that another machine or a browser started, and make it the active session.

    ENDPOINT is what `sessions list` shows in its last column.

    \b
    lecoder-cgpu sessions adopt gpu-t4-s-1a2b3c --name train
    """
    from ...models.jobs import SessionAdopted
    from ...runs import all_jobs

    session = operations.adopt(app.client, endpoint, name)
    document = SessionAdopted(session=operations.inspect(app.client, session.record), fresh=False)
    lines = [f"{name} holds {session.record.runtime.endpoint} now"]
    try:
        document.jobs = all_jobs.newest(session)
        lines += [f"{job.id} {job.state} {job_text.command(job)}" for job in document.jobs]
    except errors.Error as error:  # it is held all the same
        document.notice = f"its jobs could not be asked for: {error.message}"
        lines.append(f"{document.notice}; later: lecoder-cgpu job list")
    return Answer(document, lambda: "\n".join(lines))


@command.command()
@click.argument("session")
@click.argument("name")
@click.pass_obj
def rename(app: App, session: str, name: str) -> Answer:
    """Give a session another name; its runtime stays.

    \b
    lecoder-cgpu sessions rename colab train
    """
    record = app.client.store.find(session)
    app.client.store.rename(record.id, name)
    document = SessionAdded(session=operations.inspect(app.client, app.client.store.find(record.id)))
    return Answer(document, lambda: f"{record.name} is called {name} now")


@command.command()
@click.argument("session", required=False)
@click.pass_obj
def switch(app: App, session: str | None) -> Answer:
    """Make a session the active one.

    \b
    lecoder-cgpu sessions switch train
    """
    record = app.client.store.find(_key(app, session))
    operations.activate(app.client, record)
    return Answer(
        SessionSwitched(session_id=record.id, label=record.label, account=record.account),
        lambda: f"active: {record.name}",
    )


@command.command()
@click.argument("sessions", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Close every session.")
@click.option("--orphans", is_flag=True, help="End the runtimes that this tool started and no session here holds.")
@click.option("--force", is_flag=True, help="Forget the session even if its server cannot be told.")
@click.pass_obj
def close(app: App, sessions: tuple[str, ...], everything: bool, orphans: bool, force: bool) -> Answer:
    """Release the runtimes of sessions and forget them.

    A Colab runtime is given back, also one without a session if its endpoint is named; a local runtime is ended. On a
    server that is not ours, only the kernels that we started are. Without a name it is the active session. --orphans
    also ends what another machine of yours uses with this tool, and what an interrupted start or close has left.

    \b
    lecoder-cgpu sessions close
    lecoder-cgpu sessions close train scratch
    lecoder-cgpu sessions close --all --orphans --json
    """
    client = app.client
    if everything and sessions:
        raise errors.UsageError(
            "--all closes every session; names make no sense with it", hint="leave out --all or the names"
        )
    if everything:
        keys = [record.id for record in client.store.records()]
    else:
        keys = list(sessions) or ([] if orphans else [_key(app, None)])
    found = [_closable(app, key) for key in keys]
    if orphans:
        ids = [item.id for item in found if isinstance(item, Record)]
        found += [record for record in operations.unwanted(client) if record.id not in ids]
        found += [item for item in operations.orphans(client) if item[1] not in keys]
    names = [item.backend if isinstance(item, Record) else item[0].name for item in found]
    closed: list[SessionClosed] = []
    told: list[str] = []
    failure: errors.Error | None = None
    active = client.store.active()
    for item, name in zip(found, names, strict=True):
        try:
            closed.append(_close(app, item, force=force) if isinstance(item, Record) else _end(app, *item))
            told.append(
                session_text.told(closed[-1], lender.label if (lender := client.leased(name)) is not None else name)
            )
        except errors.Error as error:  # the others may cost money, so they are closed all the same
            if failure is not None:
                app.printer.notify(failure.message)
            failure = error
    document = SessionsClosed(deleted=bool(closed), closed=closed)
    if closed:
        document.session_id = closed[0].session_id
    if failure is None:
        _tell_active(app, active)
        if everything or any(item.released in ("runtime", "requested") for item in closed):
            try:
                held.tell_account(app, document, names)
            except errors.Error as error:
                failure = error if everything else None  # which it did not prove
                if failure is None:
                    app.printer.notify(error.message)
    if failure is not None:
        for line in told:
            app.printer.notify(line)
        raise failure
    return Answer(document, lambda: _closed(closed, told))


def _agreed(app: App, record: Record) -> list[RunState]:
    """The runs that closing a session ends. A person is asked first; elsewhere they are named.

    Raises:
        errors.UsageError: the person does not want that.
    """
    from ...runs import closing

    running = closing.unfinished(app.client, record)
    if not running:
        return []
    shown = [f"{state.run} ({closing.words_of(state)[:40]})" for state in running]
    what = f"{counted(len(running), 'run')} on {record.name}: {', '.join(shown[:5])}{', …' if len(shown) > 5 else ''}"
    if app.printer.may_ask and not app.printer.agrees(f"This ends {what}. Close it? [y/N] "):
        raise errors.UsageError(
            f"{record.name} was not closed", name="NotConfirmed", hint="to close it unasked: add --no-input"
        )
    app.printer.notify(f"closing ends {what}")
    return running


def _tell_active(app: App, before: Record | None) -> None:
    """Say which session plain commands use now, if that is another one than before."""
    now = app.client.store.active()
    if before is not None and now is not None and now.id != before.id:
        app.printer.notify(f"{now.name} is the active session now")


def _closable(app: App, key: str) -> Record | tuple[Leased, str]:
    """The session that is meant, or a runtime without one: its lender and its endpoint.

    Raises:
        errors.NotFoundError: there is neither.
    """
    try:
        return app.client.store.find(key)
    except errors.NotFoundError:
        found = operations.holder_of(app.client, key)
        if found is None:
            raise
        return found


def _closed(closed: list[SessionClosed], told: list[str]) -> Text:
    """What became of each, and in which colour: green is what holds nothing any more."""
    styles = ["yellow" if item.released in ("requested", "unknown") else "green" for item in closed]
    lines = [(Cell(line, style),) for line, style in zip(told, styles, strict=True)]
    return Text(lines or [(session_text.EMPTY,)])


def _end(app: App, lender: Leased, endpoint: str) -> SessionClosed:
    released = operations.end_runtime(app.client, lender, endpoint)
    return SessionClosed(session_id=endpoint, name=endpoint, released=released, account=operations.holder(lender).id)


def _close(app: App, record: Record, *, force: bool) -> SessionClosed:
    from ...runs import closing

    running = _agreed(app, record)
    try:
        return closing.close(app.client, record, running)
    except errors.Error as error:
        if not force:
            closing.explain(app.client, record, error)
            raise
        app.printer.notify(f"{record.name}: {error.message}; it may still be running there")
        operations.abandon(app.client, record)
        return SessionClosed(session_id=record.id, name=record.name, released="unknown", account=record.account)


command.add_command(close, "delete")


@command.command()
@click.option("--dry-run", is_flag=True, help="Only tell what would be done.")
@click.pass_obj
def clean(app: App, dry_run: bool) -> Answer:
    """Forget the sessions whose runtimes are certainly gone. No runtime is ended.

    \b
    lecoder-cgpu sessions clean --dry-run
    lecoder-cgpu sessions clean
    """
    document = operations.clean(app.client, dry_run=dry_run)
    document.account = app.account or UNSET

    def text() -> str:
        verb = "would remove" if dry_run else "removed"
        lines = [f"{verb} {len(document.removed)} session(s)"]
        if document.kept:
            lines.append(f"kept {len(document.kept)} that do not answer but may still exist")
        return "\n".join(lines)

    return Answer(document, text)


@command.command()
@click.argument("session", required=False)
@click.pass_obj
def restart(app: App, session: str | None) -> Answer:
    """Restart a session's kernel: the same as `kernel restart`.

    \b
    lecoder-cgpu sessions restart train
    """
    from .kernel import restart_kernel

    return restart_kernel(app, session or app.session)


def _key(app: App, given: str | None) -> str:
    """The session that was named, as argument or with --session; the active one when none was.

    Raises:
        errors.NotFoundError: no session is active.
    """
    if key := given or app.session:
        return key
    active = app.client.store.active()
    if active is None:
        raise errors.NotFoundError(
            "there is no active session", name="SessionNotFound", hint="lecoder-cgpu sessions list"
        )
    return active.id


def _stats(documents: list[SessionDocument], account: str | None) -> SessionStats:
    return SessionStats(
        total_sessions=len(documents),
        active_sessions=sum(item.status == "active" for item in documents),
        connected_sessions=sum(item.status in ("active", "idle") for item in documents),
        stale_sessions=sum(item.status == "stale" for item in documents),
        account=account or UNSET,
    )


def _stats_text(stats: SessionStats) -> str:
    return f"{stats.total_sessions} session(s), {stats.connected_sessions} reachable, {stats.stale_sessions} gone"
