"""`mcp`: the tools for coding agents, over the Model Context Protocol."""

from __future__ import annotations

import click

from ... import errors
from ..app import App, Command
from ..output import Answer


@click.command(cls=Command)
@click.option("--allow", multiple=True, metavar="PATH", help="A folder here that tools may read and write, too.")
@click.pass_obj
def command(app: App, /, allow: tuple[str, ...]) -> Answer:
    """Serve the Model Context Protocol on stdin and stdout, until stdin is closed.

    The server uses one session: that of --session, else the first that it used or ensured, whatever other programs
    make the active one.

    An agent starts it: its configuration names the command `lecoder-cgpu` with the argument `mcp`. It needs the extra
    mcp: pip install "lecoder-cgpu[mcp]".

    Files here are read and written below the roots that the agent's client names, or below the working folder when it
    names none, as clients of the newest protocol, which cannot be asked; never those of lecoder-cgpu itself.

    \b
    lecoder-cgpu mcp
    lecoder-cgpu mcp --allow ~/data
    lecoder-cgpu --session train mcp
    lecoder-cgpu --profile work mcp
    """
    try:
        from ...agents.mcp import serve
    except ImportError as error:
        raise errors.MissingExtra(
            f"the MCP server needs {error.name}, which the extra 'mcp' installs",
            hint='pip install "lecoder-cgpu[mcp]"',
        ) from error
    serve(app.config, allow, app.session)
    return Answer(None, printed=True)
