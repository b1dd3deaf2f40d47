"""The pages for coding agents: `docs/agents.md`, one screen, and `SKILL.md`, which ships with the package.

The texts are written by hand, the tables are made; a test executes every console block of both.
"""

from __future__ import annotations

import json
import textwrap
from typing import TYPE_CHECKING

from .pages import NOTE, table

if TYPE_CHECKING:
    from ..models.reference import ErrorReference, Reference

FRONT_MATTER = """---
name: lecoder-cgpu
description: >-
  Run Python, shell commands and notebooks on Google Colab GPUs and TPUs, on any Jupyter server, or on a local runtime,
  from the command line with JSON output. Use it when code needs a GPU or more memory than this machine has, or must go
  on while no command watches it. Do not use it for what runs well here: runtimes cost money while they are held.
license: Apache-2.0
---
"""

LOOP = """
```console
$ lecoder-cgpu status --json                                      # what is held, GPUs, memory, cost
$ lecoder-cgpu run "pip install -q tqdm" --json                   # a shell command, in the kernel's environment
$ lecoder-cgpu run -m kernel "import tqdm; x = 6" --json          # Python; variables stay for the next run
$ lecoder-cgpu run -m kernel "print(x * 7)" --json                # many of these: LECODER_CGPU_WARM=on, 3 x as fast
$ lecoder-cgpu run train.py --epochs 3 --json                     # a script of yours, sent and executed there
$ lecoder-cgpu run --sync . --detach --name train-1 --json python train.py   # a job: goes on without you
$ lecoder-cgpu job wait train-1 --timeout 100 --json              # its end and its output; 124 while it runs
$ lecoder-cgpu sessions close --all --json                        # stop paying; held [] with wholeAccount proves it
```
"""

# What a document says that is easily taken for something else.
FACTS = """
* `run` without `--json` prints the program's own bytes, exactly, and ends with its exit status.
* `--sync DIR` lands in a folder of DIR's name below the working folder there (`synced.remote` in the document), and the
  command runs in it. Only what differs is sent; what `.gitignore` names is not, nor `.git`.
* A runtime that was gone is replaced by a plain `run`, and `notice` says so: its files and variables are lost. With
  `-s NAME`, and for a run that was under way, it is error 2004 (`RuntimeLost`) instead.
* `running` in `logs` means that its end was not learned here yet: `job show ID` asks. `lost`: the runtime went first.
* `status: unknown`: we lost sight of it; look with `job show ID` before it is run again.
* `--auto-install` installs a package that is missing and runs again, once; `autoInstalled` names it.
"""

CODES = """
Read `errorCode` first: 0 is success. Otherwise `error.category` says what kind it is, `error.suggestion` what to do,
often a command, and `error.retryable` whether the same may work later. stdout is always exactly one JSON document.
"""


def skill(reference: Reference) -> str:
    """`SKILL.md` in the agentskills.io layout."""
    return (
        FRONT_MATTER
        + f"""
# lecoder-cgpu {reference.version}

Every command takes `--json`, also as the last word behind a script of yours, unless the script has a `--json` itself;
`run python train.py --json` gives it to python; stderr says so. Nothing ever prompts, opens a browser, or prints
anything but the document on stdout.
`lecoder-cgpu reference COMMAND` (or `error CODE`, `setting NAME`) tells all about it in less than 6 KB.

## The loop
{LOOP}
`--backend local` does all of this on this machine, for nothing: rehearse there.

## Jobs

Anything longer than a minute is better a job. `job wait` ends with the job's own exit status, 124 while it still runs;
its document has `stdout` (head and tail), `lastLine`, `nextOffset` and `next`. A job is called by its id, `--name` or
`--key`; the same key and input start once. `run --attach ID` shows any run from its first byte.

```console
$ lecoder-cgpu run --detach --key eval-1 "echo step 1; echo step 2"
$ lecoder-cgpu job wait eval-1 --timeout 100 --json
$ lecoder-cgpu job logs eval-1 --tail 20
$ lecoder-cgpu run --attach eval-1 --json
$ lecoder-cgpu job list --all-sessions --json                     # `unasked` names what could not be asked
$ lecoder-cgpu job kill --all --json
```

## Files, notebooks, packages

```console
$ lecoder-cgpu upload data.csv inputs/ --json
$ lecoder-cgpu run --sync . --pull out --json python train.py     # sync first, run there, fetch out/ at the end
$ lecoder-cgpu download inputs/data.csv copy.csv --json
$ lecoder-cgpu run analysis.ipynb -o executed.ipynb --json        # failedCell, failedCodeCell, lastOutput
$ lecoder-cgpu run -m kernel --auto-install "import tqdm" --json
```

## What the answers mean
{FACTS}
## When it fails
{CODES}
{_categories(reference)}
A process run ends with the status of its program; {_statuses(reference)}.

## Cost

* A runtime costs money from allocation until `sessions close`, idle or not; `status` shows what is held and its rate.
* Without a session, `run` allocates one on Colab (a GPU unless `--cpu` or `--tpu`). `sessions ensure NAME --gpu T4` is
  safe to repeat. `--max-runtime 2h` and `--max-units 5` are hard limits. `run --rm` gives back what it started.
* A runtime that another machine or a browser started: `sessions list` shows its endpoint, `sessions adopt ENDPOINT
  --name NAME` takes it over and shows its jobs.
* `logs -n 10 --json` is what was run from this machine; `doctor --json` finds what is wrong with the installation.
* Never retry `blocked`. Never use several accounts to get around limits.

## What needs a human

Logging in: `lecoder-cgpu auth login --start --json` prints a URL for them; pipe what they paste back into
`lecoder-cgpu auth login --finish FLOW --code-stdin --json`.
"""
    )


def _categories(reference: Reference) -> str:
    """One line a code: the first class that has it stands for it."""
    seen: dict[int, ErrorReference] = {}
    for item in reference.errors:
        seen.setdefault(item.code, item)
    return table(
        ("code", "category", "meaning"),
        [(str(item.code), item.category, item.description) for item in seen.values()],
    )


def _statuses(reference: Reference) -> str:
    return ", ".join(
        f"{status} {meaning}" for status, meaning in reference.exit_codes.items() if status in ("75", "124", "130")
    )


def _exits(reference: Reference) -> str:
    found = "; ".join(f"{status} {meaning}" for status, meaning in reference.exit_codes.items())
    return textwrap.fill(f"Exit statuses: {found}.", 120)


def agents(reference: Reference) -> str:
    """`docs/agents.md`: what an agent must know, on one screen."""
    return (
        NOTE
        + f"""
# For coding agents

Run code on Google Colab GPUs, Jupyter servers or a local runtime. **Every command takes `--json`**, before or after its
name; stdout is exactly one JSON document, whatever happens. `run PROGRAM ARGS --json` is PROGRAM's; stderr says so.

## The loop
{LOOP}
## Runs

`run -m kernel` is Python in a kernel that keeps its variables; `run` alone is a shell command or a program with its
arguments, as a process of its own, with its true exit status. Options come before the command, or the script.

```console
$ lecoder-cgpu run --sync . --timeout 600 --json python train.py   # sends your files, then runs there
$ lecoder-cgpu run --sync . --wait 100 --json python train.py      # watch for so long; 124 when it goes on
```

On success: `{{"status":"ok","errorCode":0,"stdout":"…","timing":{{"duration_ms":123}},"exitCode":0,"runId":"run-…"}}`.
On failure: `{{"status":"error","errorCode":1005,"error":{{"name","message","category","suggestion","retryable"}},…}}`.
`truncated` is there when more than 1 MiB of a stream was left out, and names the command that prints it.
{FACTS}
## Codes
{CODES}`error.billing` says whether a runtime is held that costs money.

{_categories(reference)}
Retry 1003, 1006, 1999 and 2003 with a pause; never 1001, 1005 without a change, never 2007.

{_exits(reference)}

## Which runtime

`--gpu T4` (or `--gpu A100,L4`, in that order), `--tpu`, `--cpu`, `--high-ram`, `--new-runtime`; `-s NAME` for one that
is held. Without any of them the active session is used, and with none, one is allocated.
`sessions adopt ENDPOINT --name NAME` takes over one of another machine or a browser, and shows its jobs.

## Jobs, files, notebooks, packages, and looking back

```console
$ lecoder-cgpu run --sync . --detach --key train-2 --json python train.py   # the same key and input start once
$ lecoder-cgpu job wait train-2 --timeout 100 --json    # its own exit status, its output; 124 while it runs
$ lecoder-cgpu job logs train-2 --from 0 --json         # nextOffset is where to go on; --tail 20 for people
$ lecoder-cgpu run --attach train-2 --json              # all of a run, from its first byte
$ lecoder-cgpu job list --all-sessions --json
$ lecoder-cgpu upload data.csv inputs/ --json
$ lecoder-cgpu download inputs/data.csv copy.csv --json
$ lecoder-cgpu run analysis.ipynb -o executed.ipynb --json
$ lecoder-cgpu install -r requirements.txt --json
$ lecoder-cgpu sessions list --json
$ lecoder-cgpu gpus --json
$ lecoder-cgpu kernel restart --json
$ lecoder-cgpu logs -n 10 --json
$ lecoder-cgpu logs --status error --json
$ lecoder-cgpu doctor --json
$ lecoder-cgpu reference job wait                       # all about one command, in less than 6 KB
```

## Login without a browser

`auth login --start --json` prints `url` and `flowId`; a human opens the URL, and what they get goes into
`auth login --finish FLOW --code-stdin --json`. Or copy `config.json` and `state/session.json` from a machine that is
logged in, or set `LECODER_CGPU_CREDENTIALS`. `--backend local` needs no login.

## As tools

`lecoder-cgpu mcp` (the extra `mcp`) is a server; `mcp --config CLIENT` prints these lines with your own path:

{_clients()}"""
    )


def _clients() -> str:
    """What each client's configuration needs."""
    from ..agents import clients

    alike: dict[str, list[str]] = {}
    for name in clients.PLACES:
        content = clients.lines(name, command="lecoder-cgpu").content.strip()
        shown = json.dumps(json.loads(content)) if content.startswith("{") else content
        alike.setdefault("<br>".join(f"`{line}`" for line in shown.splitlines()), []).append(name)
    rows = [
        (", ".join(names), ", ".join(f"`{clients.PLACES[name].file}`" for name in names), lines)
        for lines, names in alike.items()
    ]
    return table(("client", "file", "lines"), rows)
