"""Reference material made from live objects, so that it cannot drift: JSON Schemas, reference pages, the manual page.

`python -m lecoder_cgpu.reference write [PROJECT]` writes it, `check` fails when what is there differs.
"""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from . import __version__, models
from .store import session_store

if TYPE_CHECKING:
    from .models.reference import Reference

PAGES = "src/lecoder_cgpu/cli/pages"
OWNED = ("schemas", "docs/reference", "man", PAGES)  # folders that hold nothing else
README = "README.md"
BEGIN = "<!-- errors: made by `python -m lecoder_cgpu.reference write`; edit the source, not this. -->\n"
END = "<!-- end of errors -->\n"


def documents() -> dict[str, Any]:
    """Name of each schema -> the type that it describes.

    A module of `models` names its own in `DOCUMENTS`: what a command prints with --json when it succeeds (a failure
    prints `failure`, and `run` prints `run` for both), lines of --events, and files that are kept or written.
    """
    found: dict[str, Any] = {"sessions-file": list[session_store.Record]}
    for module in pkgutil.iter_modules(models.__path__):
        for name, kind in importlib.import_module(f"{models.__name__}.{module.name}").DOCUMENTS.items():
            if name in found:
                raise AssertionError(f"two documents have the schema {name!r}")
            found[name] = kind
    return found


def schemas() -> dict[str, bytes]:
    """File name -> content of every schema."""
    files = {}
    for name, kind in documents().items():
        schema = {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": name,
            **_tidy(msgspec.json.schema(kind)),
        }
        files[f"{name}.json"] = (json.dumps(schema, indent=2, ensure_ascii=False) + "\n").encode()
    return files


def _tidy(schema: Any) -> Any:
    """The schema with docstrings dedented, as Python does by itself only from 3.13 on."""
    if isinstance(schema, list):
        return [_tidy(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: inspect.cleandoc(value) if key == "description" and isinstance(value, str) else _tidy(value)
        for key, value in schema.items()
    }


def files() -> dict[str, bytes]:
    """Path below the project's folder -> content of everything that is made as a whole."""
    from .cli import app, help_page
    from .docgen import async_types, completions, error_names, guide, man, pages, result_types

    described = _described()
    texts = {f"docs/reference/{name}": text for name, text in pages.pages(described).items()}
    texts["docs/reference/error-names.md"] = pages.error_names(error_names.names())
    texts["man/lecoder-cgpu.1"] = man.page(described)
    texts["docs/agents.md"] = guide.agents(described)
    texts["src/lecoder_cgpu/api/aio.pyi"] = async_types.stub()
    texts["src/lecoder_cgpu/results.pyi"] = result_types.stub()
    texts["src/lecoder_cgpu/SKILL.md"] = guide.skill(described)
    texts |= {f"{PAGES}/{name}": text for name, text in help_page.kept(app.root).items()}
    made = {f"schemas/{name}": content for name, content in schemas().items()}
    made["src/lecoder_cgpu/completions.json"] = completions.content(app.root, help_page.OLD_NAMES)
    return made | {path: text.encode() for path, text in texts.items()}


def readme(text: str) -> str:
    """A README with the tables between its two marks replaced; without marks, as it is."""
    from .docgen import pages

    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    return before + begin + pages.readme_tables(_described()) + end + after if end else text


@cache
def _described() -> Reference:
    from .cli.app import root
    from .docgen.describe import describe

    return describe(root)


def _wanted(project: Path) -> dict[str, bytes]:
    """Everything that the project should hold; of README.md, the rest is written by hand."""
    written = _content(project / README)
    return files() | ({} if written is None else {README: readme(written.decode()).encode()})


def differing(project: Path) -> list[str]:
    """The files below the project's folder that are missing, out of date, or no longer made."""
    return _differing(project, _wanted(project))


def _differing(project: Path, wanted: dict[str, bytes]) -> list[str]:
    there = {path.relative_to(project).as_posix() for name in OWNED for path in (project / name).rglob("*.*")}
    return sorted(path for path in wanted.keys() | there if _content(project / path) != wanted.get(path))


def _content(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


def write(project: Path) -> None:
    """Make the project hold exactly what this version makes."""
    wanted = _wanted(project)
    for path in _differing(project, wanted):
        if path in wanted:
            (project / path).parent.mkdir(parents=True, exist_ok=True)
            (project / path).write_bytes(wanted[path])
        else:
            (project / path).unlink()


if __name__ == "__main__":
    action, *rest = sys.argv[1:] or ["check"]
    target = Path(rest[0] if rest else ".")
    if action == "write":
        write(target)
    elif stale := differing(target):
        sys.exit(f"out of date (version {__version__}): " + ", ".join(stale))
