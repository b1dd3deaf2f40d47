"""What calls of the library return: the documents that `--json` prints, as values.

Their fields have the documents' names in Python's spelling (`error_code` for `errorCode`). A field that a document
leaves out is None, and a text of output that it leaves out is empty. `to_dict` gives the document itself. They are made
from the classes of `models`, which say what the fields mean; type checkers read `results.pyi`, which is generated.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Any

import msgspec
from msgspec import UNSET, Struct, structs

ABSENT = {"stdout": "", "stderr": ""}  # what stands where a document has no such field; else None
RENAMED = {"Job": "JobInfo"}  # the library has a `Job` that can be waited for

NAMES = {  # of results, by the module of `models` that has their documents; parts of them can be had, too
    "status": "Accelerator Accelerators Account ActiveSession Gpu HeldElsewhere Host Loss Memory Remaining "
    "RuntimeStatus SessionCounts Status UnderWay Units Usage Utilization",
    "runs": "Attempt DisplayData Hook OrderedOutput OutputFile ProcessRef Pulled Release Run ShownError Stopped "
    "Truncated",
    "notebooks": "CellResult Install NotebookRun PackageChange",
    "base": "ErrorInfo Held SessionRef Timing",
    "files": "FileEntry FileList FilesRemoved Skipped SyncChange Synced Transfer TransferItem",
    "history": "HistoryEntry HistoryError HistoryRuntime StoredDisplay Watcher",
    "jobs": "JobDocument JobInfo JobStarted JobUsage Progress",
    "sessions": "KernelChoice KernelInfo RuntimeRef SessionClosed SessionDocument SessionsClosed",
    "keeper": "LeaseInfo",
}
_HOMES = {name: topic for topic, names in NAMES.items() for name in names.split()}
__all__ = ["Result", *sorted(_HOMES)]


class Result(Struct, frozen=True, kw_only=True, omit_defaults=True, repr_omit_defaults=True):
    """What every result can do."""

    def to_dict(self) -> dict[str, Any]:
        """The document, as `--json` prints it."""
        document: dict[str, Any] = msgspec.to_builtins(self)
        return document


def of(document: Any) -> Any:
    """The result that a document of `models` says."""
    if isinstance(document, list):
        return [of(item) for item in document]
    if not isinstance(document, Struct):
        return document
    values = ((name, getattr(document, name)) for name in document.__struct_fields__)
    return kind_of(type(document))(**{name: of(value) for name, value in values if value is not UNSET})


@cache
def kind_of(document: type[Struct]) -> type[Result]:
    """The class of results for a class of documents."""
    fields: list[Any] = []
    for field in structs.fields(document):
        absent = ABSENT.get(field.name)
        fields.append((field.name, Any, absent) if field.default is UNSET else (field.name, Any))
    return msgspec.defstruct(
        RENAMED.get(document.__name__, document.__name__),
        fields,
        bases=(Result,),
        module=__name__,
        namespace={"__doc__": document.__doc__},
        rename={field.name: field.encode_name for field in structs.fields(document)},
        frozen=True,
        kw_only=True,
        omit_defaults=True,
        repr_omit_defaults=True,
    )


def document_of(name: str) -> type[Struct]:
    """The class of documents whose results have that name.

    Raises:
        AttributeError: there is none.
    """
    original = {new: old for old, new in RENAMED.items()}.get(name, name)
    for topic in [_HOMES[name]] if name in _HOMES else NAMES:
        found = vars(import_module(f"{__package__}.models.{topic}")).get(original)
        if isinstance(found, type) and issubclass(found, Struct):
            return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __getattr__(name: str) -> type[Result]:
    return kind_of(document_of(name))


def __dir__() -> list[str]:
    return __all__
