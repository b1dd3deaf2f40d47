"""Packs the sources that go to the runtime, and writes the code that a kernel is sent. Runs on the client.

The helper is a package in the kernel's memory, named after the hash of its sources: a client of another version finds
nothing of that name and brings its own, and two versions live side by side.
"""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

GUEST = Path(__file__).parents[1] / "guest"

PARTS = (  # each imports only earlier ones
    "state_files", "processes", "run_processes", "limits", "memory", "usage", "output_order", "output_streams",
    "pushed_files", "hub_upload", "hub_pushes", "pushes", "supervisor", "programs", "environment", "report", "runs",
    "progress", "placing", "store", "kernel_sockets", "reply_notes", "last_words", "kernel_children", "recording",
    "late_ends", "last_messages", "executor", "adopted", "recorder", "recorders", "leftovers", "lease_guard", "trees",
    "beneath", "packs", "unpacker", "aside", "files", "aside_server", "hub_activity", "kernel_activity", "service",
)  # fmt: skip

# Executed on the runtime as processes of their own, or in a kernel of their own.
PROGRAMS = ("notebook_driver", "installer", "port_tunnel", "item_folder")

# Executed in the kernel, in names of its own so that nothing of it stays in the kernel's namespace.
_LOADER = """
def _lecoder_load(name, blob):
    import base64, json, linecache, sys, types, zlib
    if name in sys.modules:
        return
    sources = json.loads(zlib.decompress(base64.b64decode(blob)))
    package = types.ModuleType(name)
    package.__path__ = []
    added = [name]
    sys.modules[name] = package
    try:
        for part, source in sources.items():
            full = name + "." + part
            module = types.ModuleType(full)
            module.__package__ = name
            module.__file__ = "<lecoder-cgpu " + part + ".py>"
            # Tracebacks show lines of code that is in no file.
            linecache.cache[module.__file__] = (len(source), None, source.splitlines(True), module.__file__)
            sys.modules[full] = module
            added.append(full)
            exec(compile(source, module.__file__, "exec", dont_inherit=True), module.__dict__)
            setattr(package, part, module)
        service = package.service
        serving = service.Service(
            service.kernel_publisher(), name.rpartition("_")[2], sources,
            connections=service.connection_folder(),
        )
        serving.takes_files = service.take_files(name, serving.files, serving.active)
        package.call = serving.serve
    except BaseException:
        for full in added:
            sys.modules.pop(full, None)
        raise
"""


@cache
def sources() -> dict[str, str]:
    """The text of every part, by name."""
    return {part: (GUEST / f"{part}.py").read_text(encoding="utf-8") for part in PARTS}


def program(name: str) -> str:
    """The text of one of `PROGRAMS`."""
    return (GUEST / f"{name}.py").read_text(encoding="utf-8")


@cache
def module_name() -> str:
    """The name of the helper's module in the kernel."""
    digest = hashlib.sha256(_LOADER.encode())
    for name, text in sources().items():
        digest.update(f"\0{name}\0{text}".encode())
    return f"lecoder_resident_{digest.hexdigest()[:16]}"


def code() -> str:
    """What a kernel executes to have the helper; harmless when it is there already."""
    import base64
    import json
    import zlib

    blob = base64.b64encode(zlib.compress(json.dumps(sources()).encode(), 9)).decode()
    return f"{_LOADER}\ntry:\n    _lecoder_load({module_name()!r}, {blob!r})\nfinally:\n    del _lecoder_load\n"


def encode(method: str, arguments: dict[str, Any]) -> str:
    """A call as JSON."""
    request = {"method": method, **arguments}
    try:
        return msgspec.json.encode(request).decode()
    except UnicodeEncodeError:
        return json.dumps(request)  # bytes that are not UTF-8 as halves of surrogate pairs; there they are bytes again


def call(text: str) -> str:
    """The expression that passes a call, given as JSON, to the helper."""
    return f"__import__('sys').modules[{module_name()!r}].call({text!r})"
