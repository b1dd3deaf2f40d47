"""The structure of the package: who may import whom, who may read the environment, who may print."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import lecoder_cgpu
from lecoder_cgpu.helper import bootstrap

ROOT = Path(lecoder_cgpu.__file__).parent
# Executed on the runtime, not here.
REMOTE = {f"resident/{part}.py" for part in (*bootstrap.PARTS, *bootstrap.PROGRAMS, "tunnel")}
REMOTE |= {path.relative_to(ROOT).as_posix() for path in (ROOT / "testing" / "vm").rglob("*.py")}

# From the top down; a module imports only what stands below it.
LAYERS = [
    ["reference"],
    ["cli", "testing"],
    ["mcp"],
    ["tools"],
    ["rendering"],
    ["functions"],
    ["api"],
    ["doctor"],
    ["overview", "installation", "consent", "keeping"],
    ["holdings"],
    ["client"],
    ["login"],
    ["notebook_jobs", "installs", "drive"],
    ["jobs", "notebook_runs", "programs"],
    ["kernel_runs", "process_runs"],
    ["port_proxy"],
    ["processes", "storage", "forwarding", "ssh"],
    ["recording", "transfers"],
    ["runtime", "files"],
    ["keeper"],
    ["contents", "kernel", "resident", "terminal"],
    ["watch"],
    ["server"],
    ["backends"],
    ["colab"],
    ["auth"],
    ["credentials"],
    ["leases"],
    ["sessions", "history"],
    ["history_images", "history_page"],
    ["transport"],
    ["logs", "http_head"],
    ["jsonl", "process_identity", "redaction"],
    ["state", "config"],
    ["explain"],
    ["scripts"],
    ["notebook", "cell_outputs"],
    ["parameters", "templates"],
    ["outputs"],
    ["wire"],
    ["models"],
    ["errors"],
]
LEVEL = {name: number for number, names in enumerate(LAYERS) for name in names}


def sources() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(ROOT.rglob("*.py")):
        name = path.relative_to(ROOT).as_posix()
        if name not in REMOTE and name not in ("__init__.py", "__main__.py"):
            yield name, ast.parse(path.read_text("utf-8"))


def imports(name: str, tree: ast.Module) -> Iterator[str]:
    """The modules of ours that a file imports, type checking aside."""
    package = name.split("/")[:-1]
    hidden = {
        id(child)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"
        for child in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level and id(node) not in hidden:
            base = package[: len(package) - node.level + 1]
            target = [*base, *(node.module.split(".") if node.module else [])]
            for alias in node.names:
                full = target or [alias.name]
                yield full[0]


def test_arrows_point_down() -> None:
    """No module imports one above it, and every module has its place."""
    for name, tree in sources():
        own = name.split("/")[0].removesuffix(".py")
        assert own in LEVEL, f"{name} has no place in the layers"
        for imported in imports(name, tree):
            if imported in ("__version__", own):
                continue
            assert LEVEL[imported] > LEVEL[own] or (own, imported) in EQUALS, f"{name} imports {imported}"


# Within a layer, or upwards for a reason.
EQUALS = {
    ("contents", "resident"),  # it stands in for the resident, and speaks the same requests
    ("backends", "sessions"),
}


def uses(tree: ast.Module, *names: str) -> bool:
    return any(
        (isinstance(node, ast.Attribute) and node.attr in names and getattr(node.value, "id", "") == "os")
        for node in ast.walk(tree)
    )


def test_the_environment_is_read_in_one_place() -> None:
    """`os.environ` appears in config.py alone, and in the program of a child, which changes its own."""
    readers = [name for name, tree in sources() if uses(tree, "environ", "getenv")]
    assert readers == ["backends/local_server.py", "config.py"]


def test_printing_happens_in_one_place() -> None:
    """`print` and writes to the standard streams appear in the Printer alone (and in the fast path of --version)."""

    def speaks(tree: ast.Module) -> bool:
        return any(
            (isinstance(node, ast.Call) and getattr(node.func, "id", "") == "print")
            or (
                isinstance(node, ast.Attribute)
                and node.attr in ("stdout", "stderr")
                and getattr(node.value, "id", "") == "sys"
            )
            for node in ast.walk(tree)
        )

    assert {name for name, tree in sources() if speaks(tree)} == {
        "cli/output.py",
        "cli/main.py",
        "testing/colab.py",  # a program of its own, whose first line of output is its contract
    }


@pytest.mark.parametrize("library", ["httpx2", "websockets"])
def test_the_network_is_reached_in_one_place(library: str) -> None:
    """The two network libraries appear in transport.py alone."""
    users = {
        name
        for name, tree in sources()
        for node in ast.walk(tree)
        if (isinstance(node, ast.Import) and any(alias.name.split(".")[0] == library for alias in node.names))
        or (isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == library)
    }
    assert users == {"transport.py"}


HEAVY = ("asyncio", "rich", "httpx2", "filelock", "stamina", "websockets", "msgspec", "jupyter_server", "zmq", "json")


@pytest.mark.parametrize(
    ("line", "allowed"),
    [
        (["--version"], set()),
        (["--help"], set()),
        (["run", "--help"], {"msgspec", "json"}),
        ([], {"msgspec", "json"}),
    ],
)
def test_what_is_imported(line: list[str], allowed: set[str], tmp_path: Path) -> None:
    """Asking for help costs no heavy module."""
    code = (
        "import sys\nfrom lecoder_cgpu.cli.main import main\n"
        f"main({line!r})\nprint('IMPORTED', *[m for m in {HEAVY!r} if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        env={"LECODER_CGPU_CONFIG_DIR": str(tmp_path), "PATH": ""},
    )  # fmt: skip
    imported = set(done.stdout.splitlines()[-1].split()[1:])
    assert imported <= allowed


HEAVY_ON_THE_WAY = ("httpx2", "rich", "filelock", "stamina", "asyncio")


def test_a_warm_kernel_run_imports_no_http_client(tmp_path: Path) -> None:
    """The path that agents take hundreds of times imports neither the HTTP client, nor rich, nor the lock library."""
    modules = ("kernel_runs", "client", "history", "cli.commands.run")
    code = "import sys, " + ", ".join(f"lecoder_cgpu.{name}" for name in modules) + "\n"
    code += f"print(*[m for m in {(*HEAVY_ON_THE_WAY, 'lecoder_cgpu.resident')!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


@pytest.mark.parametrize("name", sorted(REMOTE))
def test_what_goes_to_the_runtime_is_old_python(name: str) -> None:
    """It can be parsed by Python 3.8."""
    ast.parse((ROOT / name).read_text("utf-8"), feature_version=(3, 8))


def test_nothing_is_posix_only_at_import_time() -> None:
    """Modules that only POSIX has are imported where they are used, or not at all."""
    posix = {"fcntl", "termios", "tty", "pwd", "grp", "resource", "pty"}
    for path in set(ROOT.rglob("*.py")) - {ROOT / "testing" / "vm" / "terminal.py"}:  # a program for POSIX alone
        for node in ast.parse(path.read_text("utf-8")).body:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            assert not posix.intersection(names), path
