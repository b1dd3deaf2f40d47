"""`policy`: what Colab's terms allow, in a few sentences and with Google's own words behind links."""

from __future__ import annotations

import click

from ...models.login import Policy
from ..app import App, Command
from ..looks import Prose
from ..output import Answer

POINTS = [
    "Google's terms for Colab and its FAQ bind you, whatever tool you use. This is our summary; theirs counts.",
    "Never, on any runtime: file hosting or serving that has nothing to do with interactive use, torrents, "
    "connecting to remote proxies, mining, denial of service, password cracking, deepfakes, several accounts "
    "to get around limits.",
    "Not on free runtimes without compute units: remote control such as SSH or remote desktops, mainly working "
    "through a web interface of your own, chess training, distributed-computing workers. Breaking this ends a "
    "runtime without notice.",
    # protocol C24
    "Limits are not published and move: about 12 hours for a runtime, 24 with background execution on Pro+. "
    "Keep results elsewhere.",
    "A runtime costs compute units while it is held, idle or not: lecoder-cgpu sessions close.",
    "This tool keeps a runtime alive while your own work runs and for the idle time you set, and no longer. It "
    "says who it is to Google, and it never switches accounts.",
    "It uses addresses that Google does not document, with your own OAuth client. On a free account that is a "
    "grey area.",
    "The stored login carries your rights: Colab, and the Drive files that this tool made. What runs print "
    "leaves the runtime, and goes to those who read it.",
    "If an account is blocked, stop; only Google can lift it. For serving, distributed work, or work that must "
    "not be interrupted, rent a machine (Colab Enterprise, or any cloud).",
]
LINKS = [
    "https://research.google.com/colaboratory/tos_v5.html",
    "https://research.google.com/colaboratory/faq.html",
    "https://policies.google.com/terms",
]


@click.command(cls=Command)
@click.pass_obj
def command(app: App) -> Answer:
    """Tell what Colab's rules allow.

    \b
    lecoder-cgpu policy
    """
    return Answer(
        Policy(points=POINTS, links=LINKS), lambda: Prose("\n".join([*(f"* {point}" for point in POINTS), "", *LINKS]))
    )
