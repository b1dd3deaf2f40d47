"""The document of `run`, its parts, and the events of `--events`."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import UNSET, Struct, field

from ..errors import EXIT_STOPPED_WAITING, Error
from .base import ErrorInfo, Held, Optional, SessionRef, Timing, known
from .files import Skipped, Synced


class DisplayData(Struct, kw_only=True):
    """One rich output: a MIME bundle. Binary formats are base64 strings, as in Jupyter's messages.

    `omitted` names the formats that `data` lacks, with their sizes in bytes: binary ones unless `--inline` asked for
    them, and all when the output would have exceeded `--max-output`.
    """

    data: dict[str, Any]
    metadata: dict[str, Any] = field(default_factory=dict)
    omitted: dict[str, int] | Optional = UNSET


class OutputFile(Struct, kw_only=True):
    """One file written by `--outputs DIR`; `path` is relative to that folder, `size` in bytes."""

    path: str
    mime: str
    size: int
    output: int


class Manifest(Struct, kw_only=True):
    """`manifest.json` of `--outputs DIR`."""

    version: int = 1
    created: str
    files: list[OutputFile]


class Truncated(Struct, kw_only=True):
    """What a run's document left out to stay within `--max-output`.

    The sizes are those of the whole streams, for each stream that was cut; `errorBytes` is that of the error's message
    and traceback together, if one was cut; `displays` counts the rich outputs that were left out, `shownErrors` the
    exceptions of `shownErrors`, `order` the pieces of `order`. `get` is the command that prints everything, as long as
    the runtime has it.
    """

    stdout_bytes: int | Optional = field(name="stdoutBytes", default=UNSET)
    stderr_bytes: int | Optional = field(name="stderrBytes", default=UNSET)
    error_bytes: int | Optional = field(name="errorBytes", default=UNSET)
    displays: int | Optional = UNSET
    shown_errors: int | Optional = field(name="shownErrors", default=UNSET)
    order: int | Optional = UNSET
    get: str | Optional = UNSET

    def __bool__(self) -> bool:
        sizes = (self.stdout_bytes, self.stderr_bytes, self.displays, self.error_bytes, self.shown_errors, self.order)
        return any(size is not UNSET for size in sizes)


JobState = Literal["starting", "queued", "running", "restarting", "waiting", "exited", "lost", "unknown"]
JobKind = Literal["process", "kernel", "notebook", "install"]
StoppedBy = Literal["timeout", "idle-timeout", "interrupt", "no-input", "kill", "lease", "close", "unknown"]


def job_state(word: str) -> JobState:
    """How a runtime says that a run stands. A word that is not known here does not mean an end."""
    return known(word, JobState, "running")


class Stopped(Struct, kw_only=True):
    """What was done to end the work early.

    `by`: `timeout`, `idle-timeout`, `interrupt` (its client was interrupted), `no-input` (it asked for input and there
    was none), `kill` (`job kill`), `lease` (the runtime's lease ended), `close` (its session was closed), or `unknown`.
    `steps`, in order: names of signals, and for code in a kernel also `interrupt`, `kernel restart`, `kernel killed`.
    """

    by: StoppedBy
    steps: list[str]

    @classmethod
    def of(cls, by: str, steps: list[str]) -> Stopped:
        """What a runtime says of it, in words that a newer version may have."""
        return cls(by=known(by, StoppedBy, "unknown"), steps=steps)


class ProcessRef(Struct, kw_only=True):
    """A process on the runtime. `command` is its command line, cut after 200 characters."""

    pid: int
    command: str


class Hook(Struct, kw_only=True):
    """The command of `--on-finish`: `exitCode` is null if it did not start or was interrupted (`problem`)."""

    command: str
    exit_code: int | None = field(name="exitCode", default=None)
    problem: str | Optional = UNSET


class Pulled(Struct, kw_only=True):
    """One result that `--pull` fetched, or the `error` that kept it. What was left out of it is in `skipped`.

    With `--every`, `generation` is the number of the one that is at `local`, `completeAt` when it was complete, and
    `restless` names what changed all the time and is there as in the generation before. These also come beside an
    `error`: then the last fetch failed, and an earlier generation is there.
    """

    path: str
    local: str
    files: int = 0
    bytes: int = 0
    generation: int | Optional = UNSET
    complete_at: str | Optional = field(name="completeAt", default=UNSET)
    restless: list[str] | Optional = UNSET
    skipped: list[Skipped] | Optional = UNSET
    error: ErrorInfo | Optional = UNSET


class Pushed(Struct, kw_only=True):
    """What `--push` has written to `target`, a folder of the runtime or an address of a Hub: how much of it is there,
    when all of it was, and what changed all the time. `error` tells why the last copy is not whole."""

    path: str
    target: str
    files: int = 0
    bytes: int = 0
    complete_at: str | Optional = field(name="completeAt", default=UNSET)
    restless: list[str] | Optional = UNSET
    error: ErrorInfo | Optional = UNSET


Released = Literal["server", "kernels", "runtime", "requested", "nothing", "unknown"]


class Release(Struct, kw_only=True):
    """What `--release` did with the runtime: `released` as in `sessions close`, or null with the `reason` why it was
    kept."""

    released: Released | None = None
    reason: str | Optional = UNSET


class OrderedOutput(Struct, kw_only=True):
    """One piece of `order`: this many `bytes` of a stream as they were written, or with `index` one of `display_data`
    or of `shownErrors`."""

    of: Literal["stdout", "stderr", "display", "error"]
    bytes: int | Optional = UNSET
    index: int | Optional = UNSET


class ShownError(Struct, kw_only=True):
    """An exception that the code showed and that did not end it, as IPython's `showtraceback` does."""

    name: str
    message: str
    traceback: list[str] = field(default_factory=list)


class Attempt(Struct, kw_only=True):
    """One attempt of a command that was run several times (`--restarts`, `--retries`).

    `cause` is what became of it: `finished`, `failed` (the program itself), `lost` (its runtime), `oom` (its runtime,
    when the memory was used up), `killed` (by somebody), `limit` (one that was set has ended it), `refused` (it was not
    started) or `unknown`. It is absent while an attempt of a job is under way. `resumed`: fetched results had been put
    back for it. `units` is what the runtime of a lost attempt had cost, where that was counted.
    """

    number: int
    cause: Literal["finished", "failed", "lost", "unknown", "killed", "limit", "refused", "oom"] | Optional = UNSET
    resumed: bool = False
    session: str | Optional = UNSET
    accelerator: str | Optional = UNSET
    run_id: str | Optional | None = field(name="runId", default=UNSET)
    timing: Timing | Optional = UNSET
    exit_code: int | Optional = field(name="exitCode", default=UNSET)
    error: ErrorInfo | Optional = UNSET
    units: float | Optional = UNSET
    stdout: str | Optional = UNSET
    stderr: str | Optional = UNSET


class Run(Struct, kw_only=True):
    """The document of `run`, in both modes.

    `status` is `abort` if the request was dropped and nothing ran, `unknown` if we could not find out how it ended, and
    `running` if we stopped watching and it goes on.
    `execution_count` is null if there is none. `outputComplete` is false if output is known to be missing;
    `outputBytes` is what the program wrote to both streams. `truncated` is present if this document shows less.
    `autoInstalled` names what --auto-install has installed; the document then describes the second run.
    `order`, with `--order`, tells in which order everything was shown; with `--raw` and `--max-output 0`, its bytes
    cut the streams exactly.
    `lateOutputOf` names earlier runs of this kernel whose tasks or threads printed while this one ran; it stands with
    their output.
    `attempts` tells of each attempt of a command with --restarts or --retries; all else is about the last one.
    `shownErrors` are exceptions that the code showed besides `error`. `shellExit` is the exit status of the last
    `!command` of the code, if it failed; the code goes on after one.
    `remaining` names the processes of a command that live on after it has ended: what it left in the background, or
    what could not be ended. `memoryShare`, of a run whose end is not known, is how much of the machine's memory was in
    use when it was seen last, from 0 to 1. `next` is the command that goes on with a run that is `running`.
    """

    status: Literal["ok", "error", "abort", "unknown", "running"]
    error_code: int = field(name="errorCode")
    stdout: str = ""
    stderr: str | Optional = UNSET
    display_data: list[DisplayData] | Optional = UNSET
    shown_errors: list[ShownError] | Optional = field(name="shownErrors", default=UNSET)
    order: list[OrderedOutput] | Optional = UNSET
    error: ErrorInfo | Optional = UNSET
    timing: Timing | Optional = UNSET
    execution_count: int | None = None
    exit_code: int = field(name="exitCode")
    mode: Literal["kernel", "terminal"]
    session: SessionRef | Optional = UNSET
    run_id: str | Optional = field(name="runId", default=UNSET)
    signal: str | Optional = UNSET
    timed_out: bool | Optional = field(name="timedOut", default=UNSET)
    interrupted: bool | Optional = UNSET
    stopped: Stopped | Optional = UNSET
    remaining: list[ProcessRef] | Optional = UNSET
    max_rss_bytes: int | Optional = field(name="maxRssBytes", default=UNSET)
    memory_share: float | Optional = field(name="memoryShare", default=UNSET)
    output_complete: bool = field(name="outputComplete", default=True)
    output_bytes: int = field(name="outputBytes", default=0)
    bytes_dropped: int | Optional = field(name="bytesDropped", default=UNSET)
    passed_over: int | Optional = field(name="passedOver", default=UNSET)
    shell_exit: int | Optional = field(name="shellExit", default=UNSET)
    late_output_of: list[str] | Optional = field(name="lateOutputOf", default=UNSET)
    truncated: Truncated | Optional = UNSET
    stdout_base64: str | Optional = field(name="stdoutBase64", default=UNSET)
    stderr_base64: str | Optional = field(name="stderrBase64", default=UNSET)
    outputs: list[OutputFile] | Optional = UNSET
    auto_installed: list[str] | Optional = field(name="autoInstalled", default=UNSET)
    hook: Hook | Optional = UNSET
    release: Release | Optional = UNSET
    synced: Synced | Optional = UNSET
    pulled: list[Pulled] | Optional = UNSET
    pushed: list[Pushed] | Optional = UNSET
    attempts: list[Attempt] | Optional = UNSET
    next: str | Optional = UNSET
    held: list[Held] | Optional = UNSET
    notice: str | Optional = UNSET

    def fail(self, error: Error, status: Literal["error", "abort", "unknown"] = "error") -> None:
        """Report `error` as the outcome of the run."""
        self.status = status
        self.error_code = error.code
        self.exit_code = error.exit_status
        self.error = ErrorInfo.of(error)

    def leave(self, interrupted: int | None) -> None:
        """Report that the work goes on: our time to watch was up, or a signal (given as its exit status) ended us."""
        self.status = "running"
        self.exit_code = interrupted or EXIT_STOPPED_WAITING
        if isinstance(self.run_id, str):
            self.next = f"lecoder-cgpu job wait {self.run_id}"
        if interrupted is not None:
            self.interrupted = True

    @classmethod
    def not_started(cls, error: Error, mode: Literal["kernel", "terminal"]) -> Run:
        """The document of a run that failed before anything was sent."""
        document = cls(status="error", error_code=0, exit_code=0, mode=mode)
        document.fail(error)
        return document


class StreamEvent(Struct, kw_only=True, tag_field="type", tag="stream"):
    """`--events`: text that the program wrote; `base64` instead of `text` where the bytes are not UTF-8.

    `offset` is where the text begins in that stream, in bytes (of UTF-8), and `nextOffset` where the next event
    continues: `run --attach RUN_ID --from NAME=OFFSET` resumes there.
    """

    name: Literal["stdout", "stderr"]
    offset: int
    next_offset: int = field(name="nextOffset")
    text: str | Optional = UNSET
    base64: str | Optional = UNSET


class DisplayEvent(Struct, kw_only=True, tag_field="type", tag="display"):
    """`--events`: a rich output, or with `update` the new content of an earlier one with the same `displayId`."""

    data: dict[str, Any]
    metadata: dict[str, Any] = field(default_factory=dict)
    display_id: str | None = field(name="displayId", default=None)
    update: bool = False
    omitted: dict[str, int] | Optional = UNSET


class ClearEvent(Struct, kw_only=True, tag_field="type", tag="clear"):
    """`--events`: the code cleared its output; with `wait`, as soon as the next output comes."""

    wait: bool


class FailureEvent(Struct, kw_only=True, tag_field="type", tag="error"):
    """`--events`: an exception that the code showed, in its place among the outputs.

    It need not have ended the code: the last document says how the run ended.
    """

    name: str
    message: str
    traceback: list[str] = field(default_factory=list)


class NoticeEvent(Struct, kw_only=True, tag_field="type", tag="notice"):
    """`--events`: something the user should know."""

    text: str


class HeartbeatEvent(Struct, kw_only=True, tag_field="type", tag="heartbeat"):
    """`--events`: this command still watches the run. It comes every 20 seconds (`--heartbeat`), whatever else happens.
    The offsets say how much of each stream was printed so far, and `silentSeconds` how long ago that was."""

    at: str
    elapsed_seconds: float = field(name="elapsedSeconds")
    silent_seconds: float = field(name="silentSeconds")
    stdout_offset: int = field(name="stdoutOffset")
    stderr_offset: int = field(name="stderrOffset")


RunEvent = StreamEvent | DisplayEvent | ClearEvent | FailureEvent | NoticeEvent | HeartbeatEvent


# The name of each schema made from this module, and what it describes.
DOCUMENTS: dict[str, Any] = {
    "run": Run,
    "run-event": RunEvent,
    "outputs-manifest": Manifest,
}
