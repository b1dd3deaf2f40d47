"""Tools that copy and list files. Those of this machine are checked first, see `places`."""

from __future__ import annotations

from ..results import FileList, Synced, Transfer
from . import arguments as given
from .desk import Call


def files(call: Call, arguments: given.FilesArguments) -> FileList:
    return call.session(arguments.session).list_files(arguments.path)


def push(call: Call, arguments: given.PushArguments) -> Transfer:
    sources = call.places.sources(arguments.sources)
    session = call.session(arguments.session)
    return session.upload(*sources, to=arguments.target, progress=call.transferred)


def sync(call: Call, arguments: given.SyncArguments) -> Synced:
    (local,) = call.places.sources([arguments.local])
    return call.session(arguments.session).sync(
        local,
        arguments.remote,
        delete=arguments.delete,
        dry_run=arguments.dry_run,
        progress=call.transferred,
    )


def pull(call: Call, arguments: given.PullArguments) -> Transfer:
    target = call.places.target(arguments.target, arguments.sources)
    session = call.session(arguments.session)
    return session.download(*arguments.sources, to=target, progress=call.transferred)
