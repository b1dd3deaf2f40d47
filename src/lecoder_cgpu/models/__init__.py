"""Every document that we print, store or accept, by topic. The JSON Schemas in `schemas/` are made from these classes.

Field names follow the reference page where it has them (`errorCode`, `display_data`, `duration_ms`); fields that we
add are camelCase. An optional field that does not apply is absent, never null, unless its docstring says otherwise.

A topic is imported when one of its names is first asked for: making a class costs a tenth of a millisecond, and most
commands need few of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .base import Done as Done
from .base import ErrorInfo as ErrorInfo
from .base import Failure as Failure
from .base import Optional as Optional
from .base import SessionRef as SessionRef
from .base import Timing as Timing
from .base import Version as Version
from .base import encode as encode
from .base import now as now
from .base import readable as readable
from .base import timestamp as timestamp
from .base import timestamp_ns as timestamp_ns

if TYPE_CHECKING:
    from .connections import Connected as Connected
    from .connections import Forwarded as Forwarded
    from .connections import ForwardedPort as ForwardedPort
    from .connections import ListeningEvent as ListeningEvent
    from .connections import SshConfig as SshConfig
    from .debug import LogFile as LogFile
    from .debug import LogFiles as LogFiles
    from .debug import LogPath as LogPath
    from .debug import LogRecord as LogRecord
    from .files import FileContent as FileContent
    from .files import FileEdited as FileEdited
    from .files import FileEntry as FileEntry
    from .files import FileList as FileList
    from .files import FilesRemoved as FilesRemoved
    from .files import Skipped as Skipped
    from .files import SyncChange as SyncChange
    from .files import Synced as Synced
    from .files import Transfer as Transfer
    from .files import TransferItem as TransferItem
    from .history import HistoryCleared as HistoryCleared
    from .history import HistoryEntry as HistoryEntry
    from .history import HistoryError as HistoryError
    from .history import HistoryPage as HistoryPage
    from .history import HistoryRuntime as HistoryRuntime
    from .history import HistoryStats as HistoryStats
    from .history import StoredDisplay as StoredDisplay
    from .jobs import Job as Job
    from .jobs import JobDocument as JobDocument
    from .jobs import JobList as JobList
    from .jobs import JobLogs as JobLogs
    from .jobs import JobProgress as JobProgress
    from .jobs import JobStarted as JobStarted
    from .jobs import JobUsage as JobUsage
    from .jobs import Progress as Progress
    from .keeper import KeeperRecord as KeeperRecord
    from .keeper import KeeperStatus as KeeperStatus
    from .keeper import KeeperStopped as KeeperStopped
    from .keeper import KeptSession as KeptSession
    from .keeper import LeaseInfo as LeaseInfo
    from .login import ClientSetup as ClientSetup
    from .login import LoggedOut as LoggedOut
    from .login import LoginExport as LoginExport
    from .login import LoginInfo as LoginInfo
    from .login import LoginStarted as LoginStarted
    from .login import OAuthClient as OAuthClient
    from .login import Policy as Policy
    from .login import StoredLogin as StoredLogin
    from .notebooks import CellEvent as CellEvent
    from .notebooks import CellResult as CellResult
    from .notebooks import CellStartEvent as CellStartEvent
    from .notebooks import Install as Install
    from .notebooks import Notebook as Notebook
    from .notebooks import NotebookConverted as NotebookConverted
    from .notebooks import NotebookDeleted as NotebookDeleted
    from .notebooks import NotebookEvent as NotebookEvent
    from .notebooks import NotebookPulled as NotebookPulled
    from .notebooks import NotebookRun as NotebookRun
    from .notebooks import NotebookStored as NotebookStored
    from .notebooks import PackageChange as PackageChange
    from .reference import CommandReference as CommandReference
    from .reference import Doctor as Doctor
    from .reference import ErrorReference as ErrorReference
    from .reference import Finding as Finding
    from .reference import OptionReference as OptionReference
    from .reference import Reference as Reference
    from .reference import SettingReference as SettingReference
    from .reference import Upgrade as Upgrade
    from .runs import ClearEvent as ClearEvent
    from .runs import DisplayData as DisplayData
    from .runs import DisplayEvent as DisplayEvent
    from .runs import HeartbeatEvent as HeartbeatEvent
    from .runs import Hook as Hook
    from .runs import Manifest as Manifest
    from .runs import NoticeEvent as NoticeEvent
    from .runs import OutputFile as OutputFile
    from .runs import Pulled as Pulled
    from .runs import Release as Release
    from .runs import Run as Run
    from .runs import RunEvent as RunEvent
    from .runs import Stopped as Stopped
    from .runs import StreamEvent as StreamEvent
    from .runs import Truncated as Truncated
    from .sessions import KernelDocument as KernelDocument
    from .sessions import KernelInfo as KernelInfo
    from .sessions import Origin as Origin
    from .sessions import RuntimeRef as RuntimeRef
    from .sessions import SessionAdded as SessionAdded
    from .sessions import SessionClosed as SessionClosed
    from .sessions import SessionDocument as SessionDocument
    from .sessions import SessionsCleaned as SessionsCleaned
    from .sessions import SessionsClosed as SessionsClosed
    from .sessions import SessionStats as SessionStats
    from .sessions import SessionSwitched as SessionSwitched
    from .status import Accelerators as Accelerators
    from .status import Account as Account
    from .status import ActiveSession as ActiveSession
    from .status import Consent as Consent
    from .status import Gpu as Gpu
    from .status import Host as Host
    from .status import Memory as Memory
    from .status import NextStep as NextStep
    from .status import Opened as Opened
    from .status import RuntimeStatus as RuntimeStatus
    from .status import SessionCounts as SessionCounts
    from .status import Start as Start
    from .status import Status as Status
    from .status import Top as Top
    from .status import Units as Units
    from .status import Usage as Usage
    from .status import Utilization as Utilization

_TOPICS = {
    "runs": (
        "ClearEvent DisplayData DisplayEvent HeartbeatEvent Hook Manifest NoticeEvent OutputFile Pulled "
        "Release Run RunEvent Stopped StreamEvent Truncated"
    ),
    "jobs": "Job JobDocument JobList JobLogs JobProgress JobStarted JobUsage Progress",
    "files": ("FileContent FileEdited FileEntry FileList FilesRemoved Skipped SyncChange Synced Transfer TransferItem"),
    "connections": "Connected Forwarded ForwardedPort ListeningEvent SshConfig",
    "notebooks": (
        "CellEvent CellResult CellStartEvent Install Notebook NotebookConverted NotebookDeleted "
        "NotebookEvent NotebookPulled NotebookRun NotebookStored PackageChange"
    ),
    "sessions": (
        "KernelDocument KernelInfo Origin RuntimeRef SessionAdded SessionClosed SessionDocument "
        "SessionStats SessionSwitched SessionsCleaned SessionsClosed"
    ),
    "status": (
        "Accelerators Account ActiveSession Consent Gpu Host Memory NextStep Opened RuntimeStatus "
        "SessionCounts Start Status Top Units Usage Utilization"
    ),
    "history": "HistoryCleared HistoryEntry HistoryError HistoryPage HistoryRuntime HistoryStats StoredDisplay",
    "debug": "LogFile LogFiles LogPath LogRecord",
    "login": "ClientSetup LoggedOut LoginExport LoginInfo LoginStarted OAuthClient Policy StoredLogin",
    "keeper": "KeeperRecord KeeperStatus KeeperStopped KeptSession LeaseInfo",
    "reference": ("CommandReference Doctor ErrorReference Finding OptionReference Reference SettingReference Upgrade"),
}
_HOMES = {name: topic for topic, names in _TOPICS.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(f".{_HOMES[name]}", __name__), name)
    return found
