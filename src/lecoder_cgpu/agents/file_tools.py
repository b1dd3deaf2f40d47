"""Tools that copy and list files. Those of this machine are checked first, see `places`."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import structs

from ..results import FileList, Transfer
from . import arguments as given
from .desk import Call

CHANGES = 20  # files that an answer names; how many there were, it always says


def files(call: Call, arguments: given.FilesArguments) -> FileList:
    return call.session(arguments.session).list_files(arguments.path)


def push(call: Call, arguments: given.PushArguments) -> Transfer:
    sources = call.places.sources(arguments.sources)
    session = call.session(arguments.session)
    return session.upload(*sources, to=arguments.target, progress=call.transferred)


def sync(call: Call, arguments: given.SyncArguments) -> Any:
    (local,) = call.places.sources([arguments.local])
    done = call.session(arguments.session).sync(
        local,
        arguments.remote,
        delete=arguments.delete,
        dry_run=arguments.dry_run,
        progress=call.transferred,
    )
    left_out = len(done.changes) - CHANGES
    short = msgspec.to_builtins(structs.replace(done, changes=done.changes[:CHANGES]))
    return short | ({"changesLeftOut": left_out} if left_out > 0 else {})


def pull(call: Call, arguments: given.PullArguments) -> Transfer:
    target = call.places.target(arguments.target, arguments.sources)
    session = call.session(arguments.session)
    return session.download(*arguments.sources, to=target, progress=call.transferred)
