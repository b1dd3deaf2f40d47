"""docs/architecture.md and CONTRIBUTING.md tell the truth about the tree."""

from __future__ import annotations

import ast
import re

import pytest

from lecoder_cgpu.backends import registry

from .test_layers import PACKAGES, ROOT

PROJECT = ROOT.parents[1]
PAGE = (PROJECT / "docs" / "architecture.md").read_text("utf-8")
PAGES = ("docs/architecture.md", "docs/protocol.md", "CONTRIBUTING.md")


def purpose(name: str) -> str:
    """The first sentence of a package's docstring."""
    path = ROOT / name / "__init__.py"
    tree = ast.parse((path if path.exists() else ROOT / f"{name}.py").read_text("utf-8"))
    paragraph = " ".join((ast.get_docstring(tree) or "").split("\n\n")[0].split())
    return re.split(r"(?<=\.) (?=[A-Z`])", paragraph)[0].removesuffix(".")


def test_the_picture_shows_every_package_in_the_order_of_the_layers() -> None:
    """Read line by line, the picture is the list that the imports are held against."""
    picture = re.search(r"<!-- picture -->\n```text\n(.*?)```", PAGE, re.DOTALL)
    assert picture is not None
    shown = []
    for line in picture[1].splitlines():
        names = line[:54].split()  # what the line is about stands to the right
        shown += [name for name in names if name != "▲"]
    assert tuple(shown) == PACKAGES


def test_the_table_says_of_each_package_what_its_docstring_says() -> None:
    table = re.search(r"<!-- packages -->\n(.*?)\n\n", PAGE, re.DOTALL)
    assert table is not None
    rows = [tuple(cell.strip() for cell in line.strip("|").split(" | ")) for line in table[1].splitlines()[2:]]
    wanted = [(f"`{name}`", purpose(name)) for name in PACKAGES]
    assert rows == wanted, "write:\n" + "\n".join(f"| {name} | {said} |" for name, said in wanted)


@pytest.mark.parametrize("page", PAGES)
def test_paths_that_the_pages_name_exist(page: str) -> None:
    """`folder/file.py` is below the package or below the project, `folder/` as well."""
    text = (PROJECT / page).read_text("utf-8")
    named = set(re.findall(r"`((?:[\w.-]+/)+[\w.-]*\.?\w*|\w+\.py)`", text))
    named = {name for name in named if re.search(r"(/|\.(py|md|toml|yml|yaml|txt))$", name)}
    bases = (PROJECT, ROOT, ROOT / "backends" / "colab")
    missing = {name for name in named if not any((base / name).exists() for base in bases)}
    # Files of users' machines, folders of servers, examples.
    assert missing - {"state/colab/", "cli/commands/NAME.py"} == set()


def test_the_page_stays_short() -> None:
    assert len(PAGE.splitlines()) < 350


# Packages whose file names alone tell what is in them.
PLAIN = {"cli", "cli/commands", "models", "testing", "testing/vm/site/google/colab"}


@pytest.mark.parametrize(
    "package", sorted({path.parent.relative_to(ROOT).as_posix() for path in ROOT.rglob("*/__init__.py")} - PLAIN)
)
def test_a_package_names_its_modules(package: str) -> None:
    """Whoever looks for a place finds it in the docstring of the package, one module after the other."""
    said = ast.get_docstring(ast.parse((ROOT / package / "__init__.py").read_text("utf-8"))) or ""
    names = {path.stem for path in (ROOT / package).glob("*.py")} - {"__init__"}
    if package == "backends":
        names -= set(registry.BUILT_IN)  # the table of names has them
    missing = sorted(name for name in names if not re.search(rf"`{name}`", said))
    assert missing == [], f"say in {package}/__init__.py what they are for"
