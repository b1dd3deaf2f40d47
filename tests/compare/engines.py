"""Notebooks executed in a folder: by nbclient, and by our command line."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import nbformat
from jupyter_client.kernelspec import NoSuchKernel
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

from tests.compare.normal import DIED, LIMIT, Executed, normal
from tests.support.cli import Cli


def source_of(path: Path) -> dict[str, Any]:
    """A notebook as it is in its file; {} if that is no JSON, as scripts are."""
    try:
        found = json.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _read(path: Path) -> Any:
    if path.suffix == ".ipynb":
        return nbformat.read(path, as_version=4)
    import jupytext

    return jupytext.read(path)


def by_nbclient(cli: Cli, path: Path, limit: int) -> Executed:
    """What nbclient makes of a notebook, in a kernel of its own, in the notebook's folder.

    Args:
        cli: in whose environment the kernel runs.
        limit: seconds for each cell.
    """
    try:
        notebook = _read(path)
        language = notebook.metadata.get("kernelspec", {}).get("language", "python")
        traits: dict[str, Any] = {"kernel_name": "python3"} if language.lower().startswith("python") else {}
        client = NotebookClient(notebook, timeout=limit, resources={"metadata": {"path": str(path.parent)}}, **traits)
        client.execute(stderr=subprocess.DEVNULL, env=cli.environment())
    except CellExecutionError as error:
        verdict = error.ename
    except CellTimeoutError:
        verdict = LIMIT
    except DeadKernelError:
        verdict = DIED
    except NoSuchKernel as error:
        return Executed(refused=f"there is no kernel {error.name}")
    except Exception as error:  # of all kinds, for notebooks that are not valid
        return Executed(refused=f"{type(error).__name__}: {error}"[:200])
    else:
        verdict = ""
    made = json.loads(nbformat.writes(notebook, version=nbformat.NO_CONVERT))
    return Executed(normal(made, source_of(path), path.parent), verdict)


def by_us(cli: Cli, path: Path, limit: int, *, detached: bool = False) -> Executed:
    """What our command line makes of a notebook, in a fresh kernel, in the notebook's folder."""
    out = path.with_name(".executed-by-us.ipynb")
    line = ["notebook", "run", str(path), "--restart", "--cell-timeout", str(limit)]
    spec = source_of(path).get("metadata", {}).get("kernelspec", {})
    if spec.get("language", "python").lower().startswith("python"):
        line += ["--cwd", str(path.parent)]
    if detached:
        started = cli(*line, "--detach", "--json")
        if started.code != 0:
            return Executed(refused=started.json["error"]["message"])
        done = cli("notebook", "fetch", started.json["jobId"], "--wait", "600", "-o", str(out), "--json")
    else:
        done = cli(*line, "-o", str(out), "--json")
    document = done.json
    if not out.exists():
        return Executed(refused=document["error"]["message"])
    verdict = document["error"]["name"] if done.code else ""
    made = json.loads(out.read_text(encoding="utf-8"))
    out.unlink()
    return Executed(normal(made, source_of(path), path.parent), verdict)
