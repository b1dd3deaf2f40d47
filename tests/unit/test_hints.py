"""What every failure says next can be typed: its commands, options and variables exist with that spelling."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from functools import cache

import click
import pytest

from lecoder_cgpu import config, errors
from lecoder_cgpu.cli.app import COMMANDS, root
from tests.support.source import PACKAGE, nodes, trees

PLACEHOLDER = "X"

# What a person or a program is to do where no command of ours and no option helps; in the words of the source, with X
# for what it fills in.
INSTRUCTIONS = {
    "Session.install('cloudpickle')",
    "X=3600, or X='never'",
    "add max_runtime=86400",
    "add pull=['PATH'], or leave them out",
    "leave it out, or add restarts=5",
    "run this program with Python X; or let the function use its arguments and modules only",
    "set it in Python (os.environ), or run a command with secrets: Session.shell",
    "upload a file first (Session.upload), and give its path",
    "encode it (base64), and decode it on the runtime; then: X X",
    "if it comes from code of yours: print less at once",
    "help(Session.X) tells what it takes",
    "help(X) tells what it takes",
    "give the path of one",
    "give arguments, or call a function for each value",
    "write @remote below @classmethod and @property",
    "give texts, numbers, True, False, None, and lists and dicts of them",
    "Client.session(kernel_name='python3')",
    "Pool(count=1), buy units, or Pool(several_free=True) if you know that you may",
    "Pool([session, …]), or Pool(client=Client('local'), count=4)",
    "seconds, such as 600",
    "--X X",
    "X 2, or X never",
    "X 2h, X 30m or X 90s",
    "X NAME, of letters, digits and _",
    "X T4, or X L4,T4",
    "a line is NAME=VALUE, NAME='a value', or a comment behind #",
    "allow more with X TIME (20m, 2h)",
    "allow more with X TIME (20m, 2h), or let it work in parts",
    "begin cells with `# %%`, or fence them with ```python; check the header between `---` lines",
    "call it again, if that does no harm",
    "check the address",
    "check the address, and the credentials in the environment",
    "choose another place, or change the permissions",
    "did you mean --X X?",
    "download it yourself and give the file",
    "give PORT or PORT:LOCAL, with numbers up to 65535: 8000 or 8000:9000",
    "give a notebook as Jupyter or Colab saves it",
    "give a path, such as data/",
    "give another path; see what is there: X",
    "give more of the id, such as X",
    "give the place of a cell, 0 to XX, or its id",
    "give the whole name, such as X, or more of the id",
    "httpsX, or download it yourself and give the file",
    "install Python 3.11 or newer",
    "install X, or check its spelling",
    "leave out X",
    "give either path, a notebook here, or job, one that was started",
    "give either session or all",
    "give another output, in a folder that exists",
    "the same command with X FILE in a folder that exists, and that may be written to",
    "leave out code, which is for the kernel, or command, which is for the shell",
    "leave out kernel_name, or give code",
    "leave out the parameters; they can be set in X",
    "leave out cwd and environment; in Python: os.chdir, os.environ",
    "leave out open files, locks and connections; open them inside the function",
    "leave that call out when the code runs without one",
    'packages are texts in []: # dependencies = ["rich"]; versions one: # requires-python = ">=3.10"',
    "look at X; the next command starts with no sessions",
    "make the same call again to wait for it",
    "name a code cell, such as X",
    "native code crashed; check the versions of compiled packages",
    "one `name: value` a line",
    "paste the whole address of the last page; it holds code=…",
    "save it as UTF-8",
    "see X",
    "repair X",
    "see that X can be written, and has room",
    "see the inputSchema of X in tools/list",
    "see what is there: X",
    "set the clock (NTP)",
    "the tools are: X",
    "try again later",
    "use X X",
    "use letters, digits, '.', '_' and '-', beginning with a letter or digit",
    "what it printed: X",
    "what you wrote is in X",
    'write it in quotes in X: "X": "…"',
}
# Raised without a hint: nothing can be done about it, somebody else adds one, or it never leaves the package.
WITHOUT = {
    "api.outcomes: NoResult",
    "cli.commands.connect: ProcessFailed",
    "cli.commands.files: EditorFailed",
    "cli.commands.ssh: SshFailed",
    "cli.main: Interrupted",
    "cli.main: UsageError",
    "pool: ItemTimeout",
    "remote_functions.calls: SystemExit",
    "remote_functions.calls: RuntimeFailure",
    "keeper.calls: AuthError",
    "runs.kernel_runs: Stopped",
    "runs.kernel_runs: SystemExit",
    "runs.kernel_runs: TimeLimit",
    "runs.kernel_runs: Withdrawn",
    "runs.records: Stopped",
    "agents.mcp: InternalError",
    "agents.mcp: Interrupted",
    "helper.file_channel: HelperRestarted",
    "helper.file_channel: HelperSilent",
    "helper.file_channel: NoFileService",
    "net.http: NoRanges",
}


def sources() -> Iterator[tuple[str, ast.Module]]:
    """Every module that runs on the user's machine, with its dotted name."""
    for path, tree in trees().items():
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        if "testing" not in parts:
            yield ".".join(parts).removesuffix(".__init__"), tree


def texts(node: ast.AST | None, module: str) -> Iterator[str]:
    """The texts that an expression may be. Constants of the module are filled in, and X for all else."""
    match node:
        case ast.Constant(value=str(text)):
            yield text
        case ast.JoinedStr(values=values):
            yield "".join(next(texts(value, module), PLACEHOLDER) for value in values)
        case ast.FormattedValue(value=value):
            yield from texts(value, module)
        case ast.BinOp(left=left, right=right):
            yield next(texts(left, module), PLACEHOLDER) + next(texts(right, module), PLACEHOLDER)
        case ast.IfExp(body=body, orelse=orelse):
            yield from [*texts(body, module), *texts(orelse, module)]
        case ast.BoolOp(values=values):
            yield from (text for value in values for text in texts(value, module))
        case ast.Dict(values=values):
            yield from (text for value in values for text in texts(value, module))
        case ast.Name() | ast.Attribute() if ast.unparse(node).rpartition(".")[2].isupper():
            home, _, name = ast.unparse(node).rpartition(".")
            scope = importlib.import_module(module)
            found = getattr(getattr(scope, home, None) if home else scope, name, None)
            if isinstance(found, str):
                yield found


def hints() -> Iterator[tuple[str, str]]:
    """Where each hint stands, and its text."""
    for module, tree in sources():
        for node in nodes(tree):
            match node:
                case ast.keyword(arg="hint", value=value):
                    local = isinstance(value, ast.Name) and not value.id.isupper()
                    assert not local or ast.unparse(value) == "hint", f"{module}: under that name, it is not seen here"
                case ast.Call(func=ast.Name(id="_finding"), args=[_, _, _, value]):  # of the doctor
                    pass
                case ast.Call(func=ast.Attribute(attr="loss"), args=[_, value]):
                    pass
                case ast.Assign(targets=[target], value=value) if re.search(
                    r"(?i)(^|[._])(hints?|suggestion|_refusals)$", ast.unparse(target)
                ):
                    pass
                case _:
                    continue
            for text in texts(value, module):
                yield f"{module}:{value.lineno}", text


HINTS = sorted(set(hints()))


@cache
def command_of(path: tuple[str, ...]) -> click.Command:
    command: click.Command = root
    for name in path:
        assert isinstance(command, click.Group)
        found = command.get_command(click.Context(command), name)
        assert found is not None, f"there is no command {' '.join(path)!r}"
        command = found
    return command


def options_of(command: click.Command) -> set[str]:
    return {name for item in command.params for name in (*item.opts, *item.secondary_opts) if name.startswith("-")}


@cache
def every_option() -> set[str]:
    commands = [command_of((name,)) for name in COMMANDS]
    children = [
        child for command in commands if isinstance(command, click.Group) for child in command.commands.values()
    ]
    return {name for command in (root, *commands, *children) for name in options_of(command)}


def check(text: str) -> None:
    """Refuse a command, an option or a variable that is not there."""
    quoted = re.sub(r'"[^"]*"', PLACEHOLDER, text)  # what the runtime gets is not ours
    for part in re.split(r"[;,:]\s|\sor\s|[()`]|(?<=\S) (?=lecoder-cgpu )", quoted):
        words = part.split()
        if "gcloud" in words or "pip" in words:
            continue
        known = every_option()
        if "lecoder-cgpu" in words[:-1]:
            behind = words[words.index("lecoder-cgpu") + 1 :]
            named = next((word for word in behind if word in COMMANDS), "")
            assert named or "--help" in behind or "--version" in behind, f"no command: {part!r}"
            path = [named]
            command = command_of((named,))
            if isinstance(command, click.Group):
                child = behind[behind.index(named) + 1 :][:1]
                if child and child[0] in command.commands:
                    path += child
                else:
                    assert command.invoke_without_command or not child, f"no command: {part!r}"
            known = options_of(command_of(tuple(path))) | {"--help"}
        for word in words:
            if re.match(r"--?[a-z]", word):
                assert re.split(r"[=….]", word)[0] in known, f"{part!r} has no option {word}"
    for name in re.findall(r"\bLECODER_CGPU_[A-Z_]+", text):
        assert name in {item.env for item in config.SETTINGS} | config.VARIABLES.keys(), name


ACTIONABLE = re.compile(
    r"\blecoder-cgpu [a-z-]|\b(pip|gcloud|chmod|mkdir|export|unset|mv|rm|ls) |(?<!\S)--?[a-z]|\b[A-Z]+_[A-Z_]+\b|https?://"
    r"|repeat the same command"
)


@pytest.mark.parametrize(("place", "text"), HINTS, ids=[place for place, _ in HINTS])
def test_a_hint_can_be_typed(place: str, text: str) -> None:
    """It names what there is, and says more than that something should be done."""
    check(text)
    assert ACTIONABLE.search(text) or text in INSTRUCTIONS, f"{place}: {text!r} names nothing to type"


@pytest.mark.parametrize(
    "text",
    [
        "lecoder-cgpu sesions list",
        "lecoder-cgpu sessions lst",
        "lecoder-cgpu ls --recursively",
        "add --no-such-option",
        "set LECODER_CGPU_NO_SUCH_THING",
    ],
)
def test_a_wrong_hint_is_seen(text: str) -> None:
    """The check can fail."""
    with pytest.raises(AssertionError):
        check(text)


def test_all_instructions_are_needed() -> None:
    """What is excused is there, and has no command to name."""
    assert {text for _, text in HINTS if not ACTIONABLE.search(text)} == INSTRUCTIONS


def test_every_error_says_what_to_do() -> None:
    """An error without a hint is on the list of those that need none."""
    classes = {kind.__name__ for kind in errors.subclasses(errors.Error)}
    without = set()
    for module, tree in sources():
        for node in nodes(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in classes:
                given = {item.arg: item.value for item in node.keywords}
                if "hint" not in given:
                    name = next(texts(given.get("name"), module), ast.unparse(node.func).rpartition(".")[2])
                    without.add(f"{module.removeprefix('lecoder_cgpu.')}: {name}")
    assert without == WITHOUT
