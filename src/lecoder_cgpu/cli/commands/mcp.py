"""`mcp`: the tools for coding agents, over the Model Context Protocol."""

from __future__ import annotations

import click

from ... import errors
from ..app import Command
from ..output import Answer


@click.command(cls=Command)
def command() -> Answer:
    """Serve the Model Context Protocol on stdin and stdout, until stdin is closed.

    An agent starts it: its configuration names the command `lecoder-cgpu` with the argument `mcp`. It needs the extra
    mcp: pip install "lecoder-cgpu[mcp]".

    \b
    lecoder-cgpu mcp
    """
    try:
        from ...agents.mcp import serve
    except ImportError as error:
        raise errors.MissingExtra(
            f"the MCP server needs {error.name}, which the extra 'mcp' installs",
            hint='pip install "lecoder-cgpu[mcp]"',
        ) from error
    serve()
    return Answer(None, printed=True)
