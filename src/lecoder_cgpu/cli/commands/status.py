"""`status`: login, runtimes, GPUs and sessions, in one document."""

from __future__ import annotations

import click

from ... import models
from ..app import App, Command
from ..output import Answer


@click.command(cls=Command)
@click.pass_obj
def command(app: App) -> Answer:
    """Show login, runtimes with their GPUs and memory, and sessions.

    \b
    lecoder-cgpu status --json | jq '.runtimes[0].gpu.memory.free'
    """
    document = app.client.status(app.session)
    return Answer(document, lambda: "\n".join(_lines(document)))


def _lines(document: models.Status) -> list[str]:
    lines = [f"google       {'logged in' if document.authenticated else 'not logged in'}"]
    lines.append(f"sessions     {document.sessions.total} ({document.sessions.connected} reachable)")
    for runtime in document.runtimes:
        lines.append("")
        lines.append(f"{runtime.session}: {runtime.label}, {'reachable' if runtime.connected else 'not reachable'}")
        if isinstance(runtime.problem, str):
            lines.append(f"  problem    {runtime.problem}")
        if isinstance(runtime.kernel, models.KernelInfo):
            lines.append(f"  kernel     {runtime.kernel.state}")
        for gpu in runtime.gpus:
            memory = f"{gpu.memory.free} free of {gpu.memory.total}, " if isinstance(gpu.memory, models.Memory) else ""
            lines.append(f"  gpu {gpu.index}      {gpu.name}: {memory}{gpu.utilization.gpu} busy")
        if isinstance(runtime.host, models.Host):
            host = runtime.host
            lines.append(f"  host       {host.hostname}, {host.cpus:g} CPUs, Python {host.python}")
            for name, size in (("memory", host.memory), ("disk", host.disk)):
                if isinstance(size, models.Memory):
                    lines.append(f"  {name:<10} {size.free} free of {size.total}")
    if not document.runtimes:
        lines.append("")
        lines.append('no runtime is held; start with: lecoder-cgpu --backend local run -m kernel "print(6*7)"')
    return lines
