"""How this copy of the tool was installed, and whether there is a newer version.

Only `check` uses the network.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Literal

from .. import __version__, errors
from ..config import EXTRAS
from ..models.reference import Upgrade

NAME = "lecoder-cgpu"
TIMEOUT = 60.0  # seconds for the installer's answer
INSTALL = 900.0  # seconds for the installation of a newer version

Kind = Literal["source", "pipx", "uv-tool", "uv", "pip", "unknown"]

# The command that installs a newer version, by how this one was installed.
UPGRADES: dict[str, str] = {
    "pipx": f"pipx upgrade {NAME}",
    "uv-tool": f"uv tool upgrade {NAME}",
    "uv": f"uv pip install --python {{python}} --upgrade {NAME}",
    "pip": f"{{python}} -m pip install --upgrade {NAME}",
    "source": "git pull, then install it again",
    "unknown": "with whatever installed it",
}


# What installs the newest version whatever was asked for before.
AGAIN = {"uv-tool": f"uv tool install {NAME}@latest", "pipx": f"pipx install --force {NAME}"}


def kind() -> tuple[Kind, str]:
    """How this copy was installed, and from where (a folder or address; "" for a package index)."""
    try:
        distribution = metadata.distribution(NAME)
    except metadata.PackageNotFoundError:
        return "source", str(Path(__file__).parents[3])
    origin = distribution.read_text("direct_url.json")
    if origin:
        return "source", str(json.loads(origin).get("url", ""))
    prefix = Path(sys.prefix)
    if (prefix / "pipx_metadata.json").exists():
        return "pipx", ""
    if (prefix / "uv-receipt.toml").exists():
        return "uv-tool", ""
    installer = (distribution.read_text("INSTALLER") or "").strip()
    return ("uv" if installer == "uv" else "pip" if installer == "pip" else "unknown"), ""


def extras() -> dict[str, bool]:
    """The optional parts, and whether each is installed."""
    from importlib.util import find_spec

    return {name: all(find_spec(item) is not None for item in modules) for name, modules in EXTRAS.items()}


def check() -> Upgrade:
    """Ask the package index for its newest version, through the installer and with the installer's settings.

    Raises:
        errors.ConnectionFailed: the index could not be asked, or its answer is no version.
    """
    how, origin = kind()
    document = Upgrade(version=__version__, installed=how, command=UPGRADES[how].format(python=sys.executable))
    if origin:
        document.origin = origin
    found = _newest_for_uv() if how in ("uv", "uv-tool") else _versions()
    if found:
        document.latest = found
        document.newer = _is_newer(found)
    return document


def install(found: Upgrade) -> None:
    """Install the newest version, by what this one was installed with.

    Raises:
        errors.UsageError: that is not known, or it was installed from its sources.
        errors.RuntimeFailure: the installer failed.
    """
    if found.installed in ("source", "unknown"):
        raise errors.UsageError(
            f"this copy was not installed from a package index ({found.installed})",
            name="NotUpgradable",
            hint=found.command,
        )
    try:
        done = subprocess.run(shlex.split(found.command), capture_output=True, text=True, timeout=INSTALL, check=False)
        failed = (done.stderr.strip().splitlines() or ["no reason was given"])[-1] if done.returncode else None
    except (OSError, subprocess.TimeoutExpired) as error:
        failed = str(error)
    if failed is not None:
        raise errors.RuntimeFailure(
            f"the newer version was not installed: {failed}", name="UpgradeFailed", hint=found.command
        )
    look = f"from importlib import metadata; print(metadata.version({NAME!r}))"
    there = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=False).stdout.strip()
    if there != found.latest:  # an installer keeps to a version that it was once told, and says that all is well
        raise errors.RuntimeFailure(
            f"version {there or 'unknown'} is installed still, although the installer saw no failure: perhaps "
            f"that one was asked for when it was installed ({found.command})",
            name="UpgradeFailed",
            hint=AGAIN.get(found.installed, found.command),
        )
    found.ran = True


def _versions() -> str:
    """The newest version on the index; "" when the index has no package of our name."""
    line = [sys.executable, "-m", "pip", "index", "versions", NAME, "--disable-pip-version-check"]
    try:
        done = subprocess.run(line, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise errors.ConnectionFailed(
            f"the package index could not be asked: {error}", name="IndexUnreachable", hint=f"pip index versions {NAME}"
        ) from error
    if done.returncode == 0:
        return done.stdout.partition("(")[2].partition(")")[0]
    # Behind an index that it cannot reach, pip goes on as if it were empty.
    unreached = re.search(r"(?:connection broken by '|Could not fetch URL )(.*?)(?:': /|$)", done.stderr, re.M)
    if unreached is None and "No matching distribution" in done.stderr:
        return ""
    reason = unreached[1] if unreached else (done.stderr.strip().splitlines() or ["pip is not installed here"])[-1]
    raise errors.ConnectionFailed(
        f"the package index could not be asked: {reason}", name="IndexUnreachable", hint=f"pip index versions {NAME}"
    )


def _newest_for_uv() -> str:
    """The newest version as uv finds it, whose environments have no pip; what runs here if there is none newer."""
    line = ["uv", "pip", "install", "--dry-run", "--upgrade", "--no-deps", "--python", sys.executable, NAME]
    try:
        done = subprocess.run(line, capture_output=True, text=True, timeout=TIMEOUT, check=False)
        told = done.stderr.strip().splitlines()
    except (OSError, subprocess.TimeoutExpired) as error:
        done, told = None, [str(error)]
    if done is None or done.returncode:
        reason = "; ".join(dict.fromkeys((told or ["no reason was given"])[:: max(len(told) - 1, 1)]))
        raise errors.ConnectionFailed(
            f"the package index could not be asked: {reason}", name="IndexUnreachable", hint=shlex.join(line)
        )
    newer = re.search(rf"^ *\+ {NAME}==(\S+)", done.stderr, re.M)
    return newer[1] if newer else __version__


def _is_newer(version: str) -> bool:
    """Whether this version comes after the one that runs here."""
    from packaging.version import InvalidVersion, Version

    try:
        return Version(version) > Version(__version__)
    except InvalidVersion as error:
        raise errors.ConnectionFailed(
            f"the package index gave {version[:100]!r}, which is no version",
            name="IndexUnreachable",
            hint=f"pip index versions {NAME}",
        ) from error
