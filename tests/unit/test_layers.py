"""The structure of the package: who may import whom, who may read the environment, who may print."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import lecoder_cgpu
from lecoder_cgpu.backends import registry
from tests.support import source
from tests.support.source import nodes

ROOT = Path(lecoder_cgpu.__file__).parent

# From the ground up: a package, or a module of the root, imports only what stands above it here.
PACKAGES = (
    "errors", "models", "profiles", "config", "guest", "system", "warm", "net", "jupyter", "helper", "auth", "store",
    "backends", "sessions", "files", "history", "runs", "notebooks", "sweeps", "results", "events", "api",
    "remote_functions", "pool", "agents", "ports", "diagnostics", "docgen", "keeper", "cli", "reference", "testing",
)  # fmt: skip
LEVEL = {name: number for number, name in enumerate(PACKAGES)}


@cache
def trees() -> dict[str, ast.Module]:
    """Every module of the package; the name is its path below the package."""
    return {path.relative_to(ROOT).as_posix(): tree for path, tree in source.trees().items()}


def on_the_runtime(name: str) -> bool:
    """Whether a module is executed on a runtime and not here."""
    return name.startswith(("guest/", "testing/vm/"))


def sources() -> Iterator[tuple[str, ast.Module]]:
    """The modules that are executed here."""
    for name, tree in trees().items():
        if not on_the_runtime(name) and name not in ("__init__.py", "__main__.py"):
            yield name, tree


def for_types_only(tree: ast.Module) -> set[int]:
    """The nodes below `if TYPE_CHECKING`."""
    return {
        id(child)
        for node in nodes(tree)
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"
        for child in ast.walk(node)
    }


def imports(name: str, tree: ast.Module) -> Iterator[str]:
    """The modules of ours that a file imports, type checking aside, as paths like those of `trees`."""
    package = name.split("/")[:-1]
    hidden = for_types_only(tree)
    for node in nodes(tree):
        if isinstance(node, ast.ImportFrom) and node.level and id(node) not in hidden:
            base = package[: len(package) - node.level + 1]
            target = [*base, *(node.module.split(".") if node.module else [])]
            for alias in node.names:
                inner = "/".join([*target, alias.name])
                if f"{inner}.py" in trees() or f"{inner}/__init__.py" in trees():
                    yield inner
                elif target:
                    yield "/".join(target)


def room(name: str) -> str:
    """The package, or module of the root, that a path belongs to."""
    return name.split("/")[0].removesuffix(".py")


def test_every_module_has_its_package() -> None:
    """Nothing stands at the root but what the list names."""
    assert {room(name) for name in trees()} - {"__init__", "__main__"} == set(PACKAGES)


def test_packages_import_only_what_stands_above_them() -> None:
    """The one order of the house."""
    for name, tree in sources():
        for imported in imports(name, tree):
            if room(imported) != room(name):
                assert LEVEL[room(imported)] < LEVEL[room(name)], f"{name} imports {imported}"


def test_no_module_imports_itself_in_a_circle() -> None:
    """Inside a package, too, imports have a direction."""
    graph = {
        name.removesuffix(".py").removesuffix("/__init__"): set(imports(name, tree)) for name, tree in trees().items()
    }
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " imports ".join([*path[path.index(module) :], module])
        if module not in done:
            for imported in sorted(graph.get(module, ())):
                visit(imported, (*path, module))
            done.add(module)

    for module in graph:
        visit(module, ())


def test_packages_hold_a_docstring_and_nothing_else() -> None:
    """Importing a package costs nothing, and tells what it is for, who may use it, and what must never be in it."""
    for name, tree in trees().items():
        if name.endswith("/__init__.py") and room(name) != "testing":
            assert len(tree.body) == 1, name
            said = ast.get_docstring(tree) or ""
            assert name.count("/") > 1 or ("Who may use it:" in said and "Never here:" in said), name


def compared(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """The texts that something is compared with, and where: `==`, `in`, `match`, and patterns in tuples and sets."""
    for node in nodes(tree):
        if isinstance(node, ast.Compare):
            places: list[ast.AST] = [node.left, *node.comparators]
        elif isinstance(node, ast.MatchValue):
            places = [node.value]
        else:
            continue
        for place in places:
            items = place.elts if isinstance(place, ast.Tuple | ast.List | ast.Set) else [place]
            for item in items:
                if isinstance(item, ast.Constant) and isinstance(item.value, str):
                    yield node.lineno, item.value


def test_no_name_of_a_backend_decides() -> None:
    """Outside backends/ and auth/, the protocol is asked what a backend can do; its name is for people."""
    names = set(registry.names())
    found = [
        f"{name}:{line} compares with {text!r}"
        for name, tree in sources()
        if room(name) not in ("backends", "auth", "testing")
        for line, text in compared(tree)
        if text in names
    ]
    assert found == []


def test_nothing_imports_one_backend() -> None:
    """What is outside backends/ knows the protocol and the table of names, and no single backend."""
    users = {
        f"{name} imports {imported}"
        for name, tree in sources()
        if room(name) not in ("backends", "testing")
        for imported in imports(name, tree)
        if imported.startswith("backends/") and imported not in ("backends/protocol", "backends/registry")
    }
    assert users == set()


def uses(tree: ast.Module, *names: str) -> bool:
    return any(
        (isinstance(node, ast.Attribute) and node.attr in names and getattr(node.value, "id", "") == "os")
        for node in nodes(tree)
    )


def test_the_environment_is_read_in_one_place() -> None:
    """`os.environ` appears in config.py alone, in the program of a child, which changes its own, and where a whole
    environment is compared and handed over."""
    readers = [name for name, tree in sources() if uses(tree, "environ", "getenv")]
    assert readers == [
        "backends/local_server.py", "config.py", "warm/client.py", "warm/launch.py", "warm/likeness.py",
        "warm/messages.py",
    ]  # fmt: skip


def test_printing_happens_in_one_place() -> None:
    """`print` and writes to the standard streams appear in the Printer alone."""

    def speaks(tree: ast.Module) -> bool:
        return any(
            (isinstance(node, ast.Call) and getattr(node.func, "id", "") == "print")
            or (
                isinstance(node, ast.Attribute)
                and node.attr in ("stdout", "stderr")
                and getattr(node.value, "id", "") == "sys"
            )
            for node in nodes(tree)
        )

    assert {name for name, tree in sources() if speaks(tree)} == {
        "cli/completing.py",  # answers a shell before anything else is imported
        "cli/output.py",
        "testing/colab.py",  # a program of its own, whose first line of output is its contract
        "warm/server.py",  # gives a child the streams of the command that it stands for
    }


@pytest.mark.parametrize("library", ["httpx2", "websockets", "stamina"])
def test_the_network_is_reached_in_one_place(library: str) -> None:
    """The network libraries, and the one for retries, appear in net/ alone."""
    users = {
        room(name)
        for name, tree in sources()
        for node in nodes(tree)
        if (isinstance(node, ast.Import) and any(alias.name.split(".")[0] == library for alias in node.names))
        or (isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == library)
    }
    assert users == {"net"}


RUNTIME_LIBRARIES = sys.stdlib_module_names | {"zmq", "__future__"}
# What the runtime's Python has where the library is imported: the tunnel runs in a kernel's place.
RUNTIME_ONLY_WHERE_USED = {
    "huggingface_hub",
    "IPython",
    "cloudpickle",
    "ipykernel",
    "jupyter_client",
    "jupyter_core",
    "google",
}


def test_the_guest_is_old_python_and_the_standard_library() -> None:
    """What runs on the runtime can be parsed by Python 3.8 and needs nothing that a runtime may lack."""
    for name in filter(on_the_runtime, trees()):
        ast.parse((ROOT / name).read_text("utf-8"), feature_version=(3, 8))
        if not name.startswith("guest/"):
            continue
        for node in nodes(trees()[name]):
            if isinstance(node, ast.ImportFrom):
                assert node.level <= 1, f"{name} imports from outside the guest"
            found = (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else [node.module or ""]
                if isinstance(node, ast.ImportFrom) and not node.level
                else []
            )
            for library in {item.split(".")[0] for item in found}:
                assert library in RUNTIME_LIBRARIES | RUNTIME_ONLY_WHERE_USED, f"{name} imports {library}"


def test_nothing_is_posix_only_at_import_time() -> None:
    """Modules that only POSIX has are imported where they are used, or not at all."""
    posix = {"fcntl", "termios", "tty", "pwd", "grp", "resource", "pty"}
    for name, tree in trees().items():
        if name == "testing/vm/terminal.py":  # a program for POSIX alone
            continue
        for node in tree.body:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            assert not posix.intersection(names), name


def test_functions_and_files_are_short() -> None:
    """A file of more than 450 lines, or a function of more than 80 lines or 8 parameters, is asking to be divided.

    The library's public calls may take more, by keyword alone.
    """
    for name, tree in trees().items():
        assert (ROOT / name).read_text("utf-8").count("\n") <= 450, name
        for node in nodes(tree):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                assert (node.end_lineno or 0) - node.lineno < 80, f"{name}: {node.name}"
                given = [item.arg for item in (*node.args.posonlyargs, *node.args.args)]
                keywords = 0 if room(name) in ("api", "remote_functions", "pool") else len(node.args.kwonlyargs)
                assert len([item for item in given if item not in ("self", "cls")]) + keywords <= 8, (
                    f"{name}: {node.name}"
                )


def test_few_tables_keep_their_own_layout() -> None:
    """The formatter formats; only tables are left alone."""
    assert sum((ROOT / name).read_text("utf-8").count("# fmt: skip") for name in trees()) < 20
