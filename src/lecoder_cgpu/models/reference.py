"""The documents of `reference`, `doctor` and `upgrade`."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import UNSET, Struct, field

from .base import Done, ErrorInfo, Optional


class OptionReference(Struct, kw_only=True):
    """One option; `value` names its value and is absent for a flag."""

    names: list[str]
    value: str | Optional = UNSET
    help: str
    default: str | Optional = UNSET
    multiple: bool = False


class CommandReference(Struct, kw_only=True):
    """One command, such as `job wait`."""

    name: str
    usage: str
    summary: str
    description: list[str] = field(default_factory=list)
    examples: list[str] = field(default_factory=list)
    options: list[OptionReference] = field(default_factory=list)


class ErrorReference(Struct, kw_only=True):
    """One class of the error tree: its name in documents, and its exit status."""

    code: int
    category: str
    name: str
    exit_code: int = field(name="exitCode")
    retryable: bool
    description: str


class SettingReference(Struct, kw_only=True):
    """One setting: its key in `config.json` and its environment variable."""

    key: str
    env: str
    help: str
    default: str | Optional = UNSET
    secret: bool = False


class Reference(Struct, kw_only=True):
    """`reference --json`: what the installed version can do. `extras` tells which optional parts are installed."""

    status: Literal["ok"] = "ok"
    error_code: int = field(name="errorCode", default=0)
    version: str
    python: str
    commands: list[CommandReference]
    errors: list[ErrorReference]
    exit_codes: dict[str, str] = field(name="exitCodes")
    settings: list[SettingReference]
    variables: dict[str, str]
    files: dict[str, str]
    extras: dict[str, bool]


class ReferencePart(Struct, kw_only=True):
    """`reference COMMAND`, `error CODE`, `exit STATUS` or `setting NAME`: what is said of that alone.

    `options` are those that not every command has, with their meanings; `commands` those of a group; `names` the values
    that `error.name` can have with this code.
    """

    status: Literal["ok"] = "ok"
    error_code: int = field(name="errorCode", default=0)
    version: str
    name: str
    usage: str | Optional = UNSET
    text: list[str]
    examples: list[str] | Optional = UNSET
    options: dict[str, str] | Optional = UNSET
    commands: dict[str, str] | Optional = UNSET
    error_codes: list[int] | Optional = field(name="errorCodes", default=UNSET)
    exit_codes: list[int] | Optional = field(name="exitCodes", default=UNSET)
    retryable: bool | Optional = UNSET
    names: list[str] | Optional = UNSET


class SkillPlaced(Done, kw_only=True):
    """`skill --install` and `--uninstall`: the file that was written, and the command that removes it; or the file that
    was `removed`. `alsoFor` are the other kinds of agents that read the same file; with `--uninstall` those for which
    it was put there, too, and for which it stays."""

    path: str | Optional = UNSET
    undo: str | Optional = UNSET
    removed: str | Optional = UNSET
    also_for: list[str] | Optional = field(name="alsoFor", default=UNSET)


class ExampleWritten(Struct, kw_only=True):
    """`example`: the files that are in `folder` now, and the command that makes sense there."""

    status: Literal["ok"] = "ok"
    error_code: int = field(name="errorCode", default=0)
    folder: str
    files: list[str]
    next: str


class CompletionChanged(Struct, kw_only=True):
    """`completion install` and `uninstall`: the files that were written, changed or deleted; `undo` takes it back."""

    status: Literal["ok"] = "ok"
    error_code: int = field(name="errorCode", default=0)
    shell: str
    changed: list[str]
    undo: str | Optional = UNSET


class Finding(Struct, kw_only=True):
    """One check of `doctor`; `fix` is the command or the step that solves a problem."""

    check: str
    level: Literal["ok", "warning", "problem"]
    message: str
    fix: str | Optional = UNSET


class Doctor(Struct, kw_only=True):
    """`doctor`. `status` is `error` when one of the findings is a problem; `error` describes the first problem.
    `account` is whose login it is, or `unknown`; absent where nobody is logged in."""

    status: Literal["ok", "error"] = "ok"
    error_code: int = field(name="errorCode", default=0)
    exit_code: int = field(name="exitCode", default=0)
    error: ErrorInfo | Optional = UNSET
    profile: str = "default"
    account: str | Optional = UNSET
    findings: list[Finding]


class Upgrade(Struct, kw_only=True):
    """`upgrade`. `installed` says how this copy was installed (`origin`: from where), `latest` is absent if the
    package index has no version. `command` installs the newest; `ran` is true if `--install` has run it."""

    status: Literal["ok"] = "ok"
    error_code: int = field(name="errorCode", default=0)
    version: str
    installed: str
    origin: str | Optional = UNSET
    latest: str | Optional = UNSET
    newer: bool = False
    command: str
    ran: bool | Optional = UNSET


# The name of each schema made from this module, and what it describes.
DOCUMENTS: dict[str, Any] = {
    "reference": Reference,
    "reference-part": ReferencePart,
    "skill-placed": SkillPlaced,
    "example": ExampleWritten,
    "completion-changed": CompletionChanged,
    "upgrade": Upgrade,
    "doctor": Doctor,
}
