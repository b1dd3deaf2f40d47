"""The folder and the variables that a notebook's code finds in a Python kernel, for as long as the notebook runs.

A kernel outlives the notebook, so both are put back afterwards. The code that does this leaves no names in the user's
namespace and no trace in the history of the kernel. It holds secrets, and is never written down.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .. import errors
from ..system import waits

if TYPE_CHECKING:
    from ..jupyter.kernel_channels import KernelConnection

ENTER_WAIT = 600.0  # seconds: the kernel may be busy with other code
LEAVE_WAIT = 10.0
_OK = "entered"
_KEPT = "_lecoder_cgpu_place"  # an attribute of the module `sys`, as long as a notebook runs
# Runs on the runtime, in Python 3.8 and newer. A notebook that was killed has put nothing back: the next one does.
_LEAVE = f"""
import os, sys
kept = sys.__dict__.pop({_KEPT!r}, None)
if kept is not None:
    for name, value in kept[1].items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value
    try:
        os.chdir(kept[0])
    except OSError:
        pass
"""
_ENTER = f"""
setattr(sys, {_KEPT!r}, (os.getcwd(), {{name: os.environ.get(name) for name in variables}}))
os.environ.update(variables)
answer = {_OK!r}
if cwd:
    shell = names.get("get_ipython")
    start = getattr(shell() if shell else None, "starting_dir", "")
    try:
        os.chdir(os.path.join(start, os.path.expanduser(cwd)))
    except OSError as error:
        answer = str(error)
"""


@dataclass(frozen=True, kw_only=True)
class Place:
    """`cwd`: a folder, relative to the one that the kernel was started in. `variables`: added to the environment."""

    cwd: str | None = None
    variables: Mapping[str, str] = field(default_factory=dict, repr=False)  # some are secrets

    @property
    def is_given(self) -> bool:
        """Whether there is anything to do."""
        return bool(self.cwd or self.variables)

    def entering(self) -> str:
        """The expression that takes a kernel there; its value is `'entered'`, or why not."""
        return _expression(_LEAVE + _ENTER, cwd=self.cwd or "", variables=dict(self.variables))


def leaving() -> str:
    """The expression that puts everything back."""
    return _expression(_LEAVE, answer="")


def _expression(program: str, **names: object) -> str:
    values = ", ".join(f"{name!r}: {value!r}" for name, value in names.items())
    return f"(lambda names: (exec({program!r}, names), names['answer'])[1])({{**{{{values}}}, 'names': globals()}})"


def enter(connection: KernelConnection, place: Place) -> None:
    """Take the kernel to the place.

    Raises:
        errors.UsageError: (`NoSuchFolder`) the folder cannot be entered. errors.RuntimeFailure: (`KernelNotPrepared`)
            the kernel is busy with other code, or does not run Python.
    """
    if not place.is_given:
        return
    with waits.on("the kernel, which may be busy with other code"):
        answer = connection.evaluate(place.entering(), ENTER_WAIT)
    if answer is None:
        raise errors.RuntimeFailure(
            "the kernel could not be given a folder and variables: it is busy, or does not run Python",
            name="KernelNotPrepared",
            hint="lecoder-cgpu kernel status; leave out --cwd, --sync, --env and --secret for other languages",
        )
    if answer.strip("'\"") != _OK:
        leave(connection, place)
        raise errors.UsageError(
            f"--cwd: the kernel cannot go there: {answer.strip(chr(34))}",
            name="NoSuchFolder",
            hint="see what is there: lecoder-cgpu ls, or send it: --sync DIR",
        )


def leave(connection: KernelConnection, place: Place) -> None:
    """Put everything back. A kernel that does not answer keeps it until the next notebook."""
    if place.is_given:
        connection.evaluate(leaving(), LEAVE_WAIT)
