"""Reference pages from a tree of commands: complete, and safe against what texts may hold."""

from __future__ import annotations

import click
import pytest

from lecoder_cgpu.docgen import describe, man, pages
from lecoder_cgpu.models.reference import CommandReference, Reference


@click.group()
def root() -> None:
    """The tool."""


@root.group()
def job() -> None:
    """Work that goes on."""


@job.command("wait")
@click.argument("job_id")
@click.option("--timeout", default=5.0, show_default=True, help="Seconds | minutes.")
@click.option("--kind", type=click.Choice(["a", "b"]), multiple=True, help="Which.")
@click.option("--quiet/--loud", help="How.")
@click.option("--secret", hidden=True)
def wait(**options: object) -> None:
    """Wait for a
    job.

    .Second paragraph with a \\ in it.

    \b
      lecoder-cgpu job wait X
    """


@root.command(hidden=True)
def internal() -> None:
    """Not for users."""


@pytest.fixture(scope="module")
def reference() -> Reference:
    return describe.describe(root)


def command(reference: Reference, name: str) -> CommandReference:
    (found,) = [item for item in reference.commands if item.name == name]
    return found


def test_commands_are_described(reference: Reference) -> None:
    """Groups and their commands, in the order of the tree; what is hidden is left out."""
    assert [item.name for item in reference.commands] == ["job", "job wait"]
    found = command(reference, "job wait")
    assert found.summary == "Wait for a job."
    assert found.description == [".Second paragraph with a \\ in it."]
    assert found.examples == ["lecoder-cgpu job wait X"]
    assert found.usage.startswith("lecoder-cgpu job wait ")
    options = {item.names[0]: item for item in found.options}
    assert "--secret" not in options
    assert (options["--timeout"].value, options["--timeout"].default) == ("FLOAT", "5.0")
    assert (options["--kind"].value, options["--kind"].multiple) == ("a|b", True)
    assert options["--quiet"].names == ["--quiet", "--loud"]
    assert not isinstance(options["--quiet"].value, str)


def test_the_manual_page_takes_text_for_text(reference: Reference) -> None:
    """No line of a text is a request to the formatter, and no backslash or hyphen is lost."""
    lines = man.page(reference).splitlines()
    assert "\\&.Second paragraph with a \\e in it." in lines
    assert ".B \\-\\-timeout FLOAT" in lines
    requests = {line.split()[0] for line in lines if line.startswith(".")}
    assert requests <= {".TH", ".SH", ".SS", ".PP", ".TP", ".B", ".I"}


def test_a_cell_of_a_table_is_one_cell(reference: Reference) -> None:
    """A bar in a text ends no cell."""
    page = pages.pages(reference)["commands.md"]
    (row,) = [line for line in page.splitlines() if line.startswith("| `--timeout")]
    assert row == "| `--timeout FLOAT` | Seconds \\| minutes. Default: 5.0. |"
    assert pages.table(("a", "b"), [("1", "2")]) == "| a | b |\n| --- | --- |\n| 1 | 2 |\n"


def test_the_tables_hold_every_error_and_setting(reference: Reference) -> None:
    """Each code of the error tree has a row, and each setting."""
    made = pages.pages(reference)
    assert all(f"| {item.code} | {item.category} |" in made["errors.md"] for item in reference.errors)
    assert all(f"| `{item.key}` | `{item.env}` |" in made["settings.md"] for item in reference.settings)
    assert len(reference.settings) > 10
