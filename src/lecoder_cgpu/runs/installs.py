"""Installing packages on the runtime, with uv if it is there and else with pip, into the Python that kernels run in.

Afterwards the kernel is asked whether it has imported a package that was replaced: then it must be restarted.
"""

from __future__ import annotations

import ast
import contextlib
import errno
import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
from msgspec import UNSET

from .. import errors
from ..files import plan as files
from ..helper.launch import Launch
from ..jupyter import messages
from ..jupyter.kernelspecs import PYTHON
from ..jupyter.outputs import OutputOptions
from ..models.base import ErrorInfo
from ..models.notebooks import Install, PackageChange
from ..sessions.session import Session
from ..system import redaction
from . import process_runs, remote_programs

KIND = "install"
LARGEST_FILE = 16 << 20  # bytes of a requirement file
ANSWER_WAIT = 5.0  # seconds that an idle kernel has to say what it has imported
_INCLUDE = re.compile(r"^(\s*(?:-r|--requirement|-c|--constraint)[\s=]+)(\S+)(.*)$", re.M)
_LOOK = (
    "(__import__('importlib').invalidate_caches(), "
    "[name for name in {modules!r} if name in __import__('sys').modules])[1]"
)


@dataclass(frozen=True)
class Wanted:
    """What is to be installed.

    Attributes:
        requirements: as pip takes them. files: texts of requirement files by name. main: which of these to install.
        editable: folders on the runtime. options: of the installer, such as `--upgrade`.
        installer: auto, uv or pip. venv: the name of an environment of its own, None for that of the kernels.
    """

    requirements: Sequence[str] = ()
    files: dict[str, str] = field(default_factory=dict)
    main: Sequence[str] = ()
    editable: Sequence[str] = ()
    options: Sequence[str] = ()
    installer: str = "auto"
    venv: str | None = None

    @property
    def label(self) -> str:
        """The requirements as people read them, without passwords in addresses."""
        words = [*self.requirements, *(f"-r {name}" for name in self.main), *(f"-e {name}" for name in self.editable)]
        return "install " + redaction.hide(" ".join(words))


class _Change(msgspec.Struct):
    name: str
    before: str | None = None
    after: str | None = None
    modules: list[str] = []


class _Report(msgspec.Struct):
    """What the installer on the runtime wrote down."""

    installer: str
    python: str
    changes: list[_Change] | None = None


def read_files(paths: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Read requirement files of this machine, with those that they include. Returns their texts by names
    that are unique in one folder, and the names of the files that were asked for.

    Raises:
        errors.NotFoundError: a file does not exist.
        errors.UsageError: a file is not text, or refers to a folder of this machine; (`OutsideFolder`) it includes a
            file that lies elsewhere. A repository could have any file of this machine sent to its code otherwise.
    """
    files: dict[str, str] = {}
    names: dict[Path, str] = {}
    named = [Path(path).expanduser().resolve() for path in paths]

    def take(path: Path, shown: str) -> str:
        path = path.resolve()
        if path in names:
            return names[path]
        _check_included(path, shown, named)
        own = [path.name] if re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}", path.name) else []
        candidates = (*own, *(f"requirements-{number}.txt" for number in range(1, len(names) + 2)))
        known = [name.lower() for name in names.values()]
        names[path] = name = next(name for name in candidates if name.lower() not in known)
        text = _text(path, shown)
        if found := re.search(r"^\s*(?:-e|--editable)[\s=]*\S+|^\s*(?:\.{1,2}/|file:)\S*", text, re.M):
            raise errors.UsageError(
                f"{shown} asks for a folder of this machine: {found[0].strip()}",
                name="LocalRequirement",
                hint="lecoder-cgpu upload DIR, then: lecoder-cgpu install -e DIR",
            )

        def include(match: re.Match[str]) -> str:
            if "://" in match[2]:
                return match[0]
            return match[1] + take(path.parent / match[2], match[2]) + match[3]

        files[name] = _INCLUDE.sub(include, text)
        return name

    return files, [take(Path(path).expanduser(), path) for path in paths]


def _check_included(path: Path, shown: str, named: Sequence[Path]) -> None:
    """Check that a requirement file is one that a person named, or lies with one of them or below the working
    folder, unless that holds all of somebody's files."""
    folders = [file.parent for file in named]
    with contextlib.suppress(OSError):  # it was deleted
        here = Path.cwd().resolve()
        folders += [] if Path.home().resolve().is_relative_to(here) else [here]
    if path not in named and not any(path.is_relative_to(folder) for folder in folders):
        raise errors.UsageError(
            f"{shown} is included by a requirement file, and lies outside of its folder and of the working folder",
            name="OutsideFolder",
            hint=f"if you want it to be sent to the runtime, name it, too: -r {shlex.quote(str(path))}",
        )


def _text(path: Path, shown: str) -> str:
    try:
        with open(path, "rb") as file:
            content = file.read(LARGEST_FILE + 1)
        if len(content) > LARGEST_FILE:
            raise OSError(errno.EFBIG, f"it has more than {LARGEST_FILE >> 20} MiB, or no end")
        return content.decode("utf-8-sig").replace("\r\n", "\n")
    except FileNotFoundError:
        raise errors.FileNotFound(f"{shown}: no such file", hint=files.here(path)) from None
    except (OSError, UnicodeDecodeError) as error:
        raise errors.UsageError(
            f"{shown} cannot be read: {error}", name="FileNotReadable", hint="give a text file in UTF-8 to -r"
        ) from error


def install(
    session: Session,
    wanted: Wanted,
    on_output: Callable[[str, bytes], None],
    *,
    timeout: float | None = None,
    max_output: int | None = None,
) -> Install:
    """Install packages, and say what changed and whether the kernel must be restarted for it.

    Args:
        on_output: told of the installer's output as it comes.
        timeout: seconds after which it is ended.
        max_output: how many bytes of each stream the document may hold; None is all.

    Raises:
        errors.Error: nothing was started. What happens after that is in the document.
    """
    run = messages.new_run_id()
    # Installers print the addresses that they are given, with what is secret in them.
    redaction.protect(*redaction.betrayed("\n".join((*wanted.requirements, *wanted.options, *wanted.files.values()))))
    spec = {
        "requirements": wanted.requirements,
        "files": wanted.files,
        "main": wanted.main,
        "editable": wanted.editable,
        "options": wanted.options,
        "installer": wanted.installer,
        "venv": (lambda hello: f"{hello.home}/venvs/{wanted.venv}") if wanted.venv else None,
    }
    session.on_send(run)
    try:
        remote_programs.start(
            session, "installer", run, spec, kind=KIND, label=wanted.label, launch=Launch(timeout=timeout)
        )
        ended = process_runs.attached_run(
            session, run, on_output, output=OutputOptions(max_output=max_output), detach=False
        )
    except KeyboardInterrupt:
        _end(session, run)
        raise
    document = Install(
        status=ended.status,
        error_code=ended.error_code,
        exit_code=ended.exit_code,
        session=session.record.ref,
        run_id=run,
        stdout=ended.stdout,
        stderr=ended.stderr,
        truncated=ended.truncated,
        timing=ended.timing,
        error=ended.error,
        interrupted=ended.interrupted,
        timed_out=ended.timed_out,
    )
    if wanted.venv is not None:
        document.venv = wanted.venv
    _add_report(session, document, _report(session, run))
    _advise(document)
    return document


def _end(session: Session, run: str) -> None:
    """End an installer that was interrupted before it was watched."""
    with contextlib.suppress(errors.Error):
        helper = session.connect_helper()
        try:
            helper.signal(run, "SIGINT", by="interrupt")
        finally:
            helper.close()


def _report(session: Session, run: str) -> _Report | None:
    """What the installer wrote down; None when it wrote nothing that can be read, or the runtime cannot be
    reached."""
    try:
        helper = session.connect_helper()
        try:
            data = helper.read(run, "messages", 0).data
        finally:
            helper.close()
        return msgspec.json.decode(data, type=_Report) if data else None
    except (errors.Error, msgspec.MsgspecError):
        return None


def _add_report(session: Session, document: Install, report: _Report | None) -> None:
    if report is None:
        return
    document.installer, document.python = report.installer, report.python
    if report.changes is None:
        return
    document.changed = [
        PackageChange(name=change.name, before=change.before or UNSET, after=change.after or UNSET)
        for change in report.changes
    ]
    # What is new cannot have been imported before.
    modules = sorted({name for change in report.changes if change.before for name in change.modules})
    if document.venv is not UNSET:
        document.restart_needed = False
        return
    loaded = _loaded(session, modules)
    document.restart_needed = None if loaded is None else bool(loaded)
    document.loaded_modules = loaded or UNSET


def _loaded(session: Session, modules: list[str]) -> list[str] | None:
    """Which of these the session's kernel has imported; None when it is busy and does not answer. The kernel also
    forgets which files it has seen, so that it finds new ones."""
    try:
        kernel = session.kernel()
        if kernel is None or session.language() != PYTHON:
            return []
        if kernel.execution_state == "busy":
            return None if modules else []
        connection = session.connect_kernel()
        try:
            text = connection.evaluate(_LOOK.format(modules=modules), ANSWER_WAIT)
        finally:
            connection.close()
        return None if text is None else [str(name) for name in ast.literal_eval(text)]
    except (errors.Error, ValueError, SyntaxError):
        return None if modules else []


def _advise(document: Install) -> None:
    """Add a suggestion to a failure that the installer explained in its own words."""
    if not isinstance(document.error, ErrorInfo) or document.timed_out is True or document.interrupted is True:
        return
    text = document.stdout + (document.stderr if isinstance(document.stderr, str) else "")
    if re.search(r"No matching distribution|not found in the package registry|No solution found", text):
        document.error.suggestion = (
            "check the name and the version; the runtime's Python may be too old or too new: "
            'lecoder-cgpu run "python --version"'
        )
    elif "does not appear to be a Python project" in text:
        document.error.suggestion = "bring it there: lecoder-cgpu sync . DIR; then: lecoder-cgpu install -e DIR"
    elif document.exit_code == errors.NotFoundError.exit_status:
        uv = "no uv on the runtime" in text
        missing = errors.NotFoundError(
            text.strip().splitlines()[-1] if text.strip() else "not found",
            name="NotFound",
            hint="leave out --installer, or bring it: lecoder-cgpu install uv"
            if uv
            else "lecoder-cgpu ls shows what is there; lecoder-cgpu upload DIR brings a folder",
        )
        document.error_code, document.error = missing.code, ErrorInfo.of(missing)
