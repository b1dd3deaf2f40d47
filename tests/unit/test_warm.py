"""Which prepared process may do which command."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections.abc import Callable, Mapping

import pytest

from lecoder_cgpu.warm import likeness, messages

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="they are there on Linux only")

SHOW = "from lecoder_cgpu.warm import likeness; print(likeness.digest(likeness.of_process()))"
WHY = (
    "import sys; from lecoder_cgpu.warm import likeness; print(likeness.reason_against(sys.argv[1:]), file=sys.stderr)"
)


def limit() -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


CHANGES: dict[str, Callable[[], object]] = {
    "umask": lambda: os.umask(0o027),
    "nice": lambda: os.nice(1),
    "limit": limit,
    "groups": lambda: os.setgroups([1, 2, 3]),
}


def digest(extra: Mapping[str, str], change: Callable[[], object] | None = None, before: tuple[str, ...] = ()) -> str:
    words = [*before, sys.executable, "-c", SHOW]
    environment = {**os.environ, **extra}
    return subprocess.run(words, env=environment, preexec_fn=change, check=True, capture_output=True, text=True).stdout


def test_what_must_be_alike() -> None:
    """What a process has of its own and cannot be handed over; all else may differ."""
    own = digest({})
    assert own == digest({"PWD": "/", "PASSED": "along", "SHLVL": "7", "HF_TOKEN": "secret"})
    for name in ("LC_ALL", "PYTHONUTF8", "LECODER_CGPU_SESSION", "TZ", "https_proxy", "HOME", "SSL_CERT_FILE"):
        assert digest({name: "0"}) != own, name
    for name in ("umask", "nice", "limit", *(["groups"] if os.geteuid() == 0 else [])):
        assert digest({}, CHANGES[name]) != own, name
    unshare = ("unshare", "-m")
    if os.geteuid() == 0 and subprocess.run([*unshare, "true"], check=False, capture_output=True).returncode == 0:
        assert digest({}, before=unshare) != own


@pytest.mark.parametrize(
    ("words", "extra", "why"),
    [
        (["run", "true"], {}, "None"),
        (["run", "true"], {"LECODER_CGPU_WARM": ""}, "they are not switched on"),
        (["run", "true"], {"LECODER_CGPU_WARM": "on", "CI": "1"}, "this is CI (LECODER_CGPU_WARM=always has it there"),
        (["connect"], {}, "only cat, job, ls, run, status are done by one"),
        ([], {}, "only cat, job, ls, run, status are done by one"),
        (["run", "--env-file", "/dev/fd/63", "true"], {}, "an argument names an open file of the command"),
    ],
)
def test_what_speaks_against_one(words: list[str], extra: dict[str, str], why: str) -> None:
    environment = {**os.environ, "LECODER_CGPU_WARM": "always", **extra}
    done = subprocess.run(
        [sys.executable, "-c", WHY, *words], env=environment, input="", capture_output=True, text=True, check=True
    )
    assert done.stderr.startswith(why)


def test_no_terminal_and_no_closed_stream() -> None:
    """A child of another process is in no session of this terminal."""
    environment = {**os.environ, "LECODER_CGPU_WARM": "always"}
    words = [sys.executable, "-c", WHY, "run"]
    ours, theirs = pty.openpty()
    done = subprocess.run(words, env=environment, stdin=theirs, capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "a standard stream is a terminal"
    os.close(ours)
    os.close(theirs)
    done = subprocess.run(
        words, env=environment, stdin=subprocess.DEVNULL, stdout=None, stderr=subprocess.PIPE, text=True, check=True,
        preexec_fn=lambda: os.close(1),
    )  # fmt: skip
    assert done.stderr.strip() == "a standard stream is closed"


def test_who_waits_has_no_secrets() -> None:
    """Of the environment it has what an interpreter reads."""
    assert likeness.is_kept("LANG")
    assert not any(map(likeness.is_kept, ("LECODER_CGPU_JUPYTER_TOKEN", "HF_TOKEN", "https_proxy", "ALL_PROXY")))


def test_hello_is_read_as_it_was_said() -> None:
    """Arguments and variables in any bytes."""
    words, variables = ["lecoder-cgpu", "run", "\udcff=", ""], {"A": "b=c", "B": "\udcfe\n", "C": ""}
    text = messages.hello("run-1", words, variables)
    assert int.from_bytes(text[:4], sys.byteorder) == len(text) - 4
    run, arguments, environment = messages.read_hello(text[4:])
    assert (run, arguments) == ("run-1", words)
    assert environment == {b"A": b"b=c", b"B": b"\xfe\n", b"C": b""}


def test_a_folder_that_is_open_to_others_is_not_used(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody else could listen there."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    os.close(messages.folder(make=True))
    os.chmod(f"{tmp_path}/lecoder-cgpu-{os.geteuid()}", 0o770)
    with pytest.raises(PermissionError, match="is open to others"):
        messages.folder()
