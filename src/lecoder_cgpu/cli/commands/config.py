"""`config`: the settings of the profile in use."""

from __future__ import annotations

import sys

import click
from msgspec import UNSET

from ... import errors
from ...models.profiles import OneSetting, SavedRequest, SettingDocument
from ..app import App, Group
from ..looks import Table
from ..output import Answer


@click.group(cls=Group, name="config")
def command() -> None:
    """Show and change settings. An option comes before the environment, that before the profile, and that before
    config.json.

    \b
    lecoder-cgpu config show
    lecoder-cgpu --profile work config set backend local
    """


@command.command()
@click.option("--all", "everything", is_flag=True, help="Also what has its usual value.")
@click.pass_obj
def show(app: App, everything: bool) -> Answer:
    """Show every setting that is not as usual, and where it comes from. Secrets are not shown.

    \b
    lecoder-cgpu config show
    lecoder-cgpu config show --all
    """
    from ...sessions import saved_requests, setting_changes

    document = setting_changes.show(app.config)

    def table() -> Table:
        rows = [
            (item.key, _shown(item), item.source)
            for item in document.settings
            if everything or item.source != "default"
        ]
        if isinstance(document.request, SavedRequest):
            rows.append(("(runtimes)", " ".join(saved_requests.words(document.request)), "profile"))
        return Table(("SETTING", "VALUE", "FROM"), rows, empty=f"everything is as usual (profile {document.profile})")

    return Answer(document, table)


@command.command()
@click.argument("key")
@click.pass_obj
def get(app: App, key: str) -> Answer:
    """Print one setting as the next command has it; of a secret only whether it is set.

    \b
    lecoder-cgpu config get backend
    """
    from ...sessions import setting_changes

    document = setting_changes.get(app.config, key)
    return Answer(document, lambda: _shown(document.setting))


@command.command(name="set")
@click.argument("key")
@click.argument("value")
@click.pass_obj
def set_(app: App, key: str, value: str) -> Answer:
    """Set a setting of the profile in use. The value of a secret comes from stdin, and VALUE is `-`.

    \b
    lecoder-cgpu config set backend local
    printf %s "$TOKEN" | lecoder-cgpu config set jupyterToken -
    """
    from ...sessions import setting_changes

    setting = setting_changes.find(key)
    if setting.secret:
        if value != "-":
            raise errors.UsageError(
                f"{setting.key} is a secret, which must not stand on a command line",
                hint=f"lecoder-cgpu config set {setting.key} - < FILE",
            )
        value = sys.stdin.read().strip()
    return _changed(app, setting_changes.change(app.config, setting, value), value)


@command.command()
@click.argument("key")
@click.pass_obj
def unset(app: App, key: str) -> Answer:
    """Take a setting of the profile in use away, so that it has its usual value again.

    \b
    lecoder-cgpu config unset backend
    """
    from ...sessions import setting_changes

    return _changed(app, setting_changes.change(app.config, setting_changes.find(key), None), None)


def _changed(app: App, document: OneSetting, value: str | None) -> Answer:
    """Say what counts now, should something else come first."""
    setting = document.setting
    if setting.source == "environment":
        app.printer.notify(f"{setting.variable} is set here, and comes first")
    elif setting.source == "option":
        app.printer.notify("an option of this command comes first, for this command")
    document.notice = app.printer.notice or UNSET
    where = f"in {document.config_file}"

    def text() -> str:
        return f"{setting.key} is not set {where}" if value is None else f"{setting.key} is set {where}"

    return Answer(document, text)


def _shown(item: SettingDocument) -> str:
    if isinstance(item.value, str):
        return item.value
    return "***" if item.is_set else ""
