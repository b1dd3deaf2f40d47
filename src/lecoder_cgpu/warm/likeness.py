"""Which prepared process may stand for which command.

Nothing is made alike: what a process has of its own, and cannot be handed over, must be the same on both sides, or the
command is done as without any of this. What is compared goes into a digest that names the socket, so that a command
finds only processes that are like it. Arguments, the other variables, the working folder and the standard streams are
handed over.
"""

from __future__ import annotations

import os
import sys

COMMANDS = frozenset(("run", "job", "status", "ls", "cat"))
SWITCH = "LECODER_CGPU_WARM"

# What is compared of the environment: what the interpreter, its libraries or an imported module may have read.
_PREFIXES = ("PYTHON", "LD_", "SSL_", "OPENSSL_", "LC_", "XDG_", "MALLOC_", "LECODER_CGPU_")
_NAMES = frozenset(
    ("HOME", "LANG", "LANGUAGE", "TZ", "TZDIR", "GLIBC_TUNABLES", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE")
)
_SETTINGS = "LECODER_CGPU_"  # secret ones among them: a process that waits does not have them
_STATUS = (
    b"Umask", b"Uid", b"Gid", b"Groups", b"SigBlk", b"CapInh", b"CapPrm", b"CapEff", b"CapBnd", b"CapAmb",
    b"NoNewPrivs", b"Seccomp", b"Cpus_allowed_list", b"Mems_allowed_list",
)  # fmt: skip
_OF_THE_C_LIBRARY = 0b11 << 31  # signals 32 and 33, which its way to start processes ignores
_FILES = ("limits", "cgroup", "attr/current", "oom_score_adj")
_LINKS = ("root", *(f"ns/{name}" for name in ("cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts")))
# Processes with the number 1 that take up orphans, and bury them.
_INITS = frozenset(
    ("systemd", "init", "tini", "dumb-init", "docker-init", "podman-init", "catatonit", "s6-svscan", "runit", "openrc")
)


def is_switched_on() -> bool:
    """Whether the user wants prepared processes; `reason_against` may speak against them all the same."""
    return os.environ.get(SWITCH) in ("on", "always")


def reason_against(arguments: list[str], *, streams: bool = True) -> str | None:
    """Why this command line is done without a prepared process, None where nothing speaks against one.

    `streams`: look at the standard streams, too.
    """
    if sys.platform == "linux" and is_switched_on() and (not arguments or arguments[0] not in COMMANDS):
        return f"only {', '.join(sorted(COMMANDS))} are done by one"
    if found := reason_against_staying():
        return found
    if any("/dev/fd/" in word or "/proc/self/" in word for word in arguments):
        return "an argument names an open file of the command"
    if sys.flags.interactive or sys.flags.inspect:
        return "the interpreter is interactive"
    for number in (0, 1, 2) if streams else ():
        try:
            os.fstat(number)
        except OSError:
            return "a standard stream is closed"
        if os.isatty(number):
            return "a standard stream is a terminal"
    return None


def reason_against_staying() -> str | None:
    """Why no process of ours may stay behind, None where one may."""
    if not is_switched_on():
        return "they are not switched on"
    if sys.platform != "linux":
        return "they are there on Linux only"
    return _short_lived() if os.environ[SWITCH] == "on" else None


def _short_lived() -> str | None:
    """Where a process that stays would be in the way; `always` asks for it all the same."""
    if os.environ.get("CI"):
        return "this is CI (LECODER_CGPU_WARM=always has it there, too)"
    if _read("/proc/1/comm").decode(errors="replace").strip() not in _INITS:
        return "this container has no init process (LECODER_CGPU_WARM=always has it there, too)"
    return None


def is_compared(name: str) -> bool:
    """Whether a variable must have the same value on both sides."""
    return name.startswith(_PREFIXES) or name in _NAMES or name.lower().endswith("_proxy")


def is_kept(name: str) -> bool:
    """Whether a process that waits for commands has a variable: what its interpreter needs, and no secrets."""
    return is_compared(name) and not name.startswith(_SETTINGS) and not name.lower().endswith("_proxy")


def of_process() -> bytes:
    """What the system knows of this process, and this interpreter of itself: one text, to be compared."""
    own = [sys.version, sys.executable, *sys.path, str(sys.flags), str(sorted(sys._xoptions.items())), *sys.warnoptions]
    own += [str(os.getpriority(os.PRIO_PROCESS, 0)), str(os.sched_getscheduler(0))]
    parts = [os.fsencode("\n".join(own))]
    for line in _read("/proc/self/status").splitlines():
        word, _, value = line.partition(b":")
        if word == b"SigIgn":
            parts.append(b"%x" % (int(value, 16) & ~_OF_THE_C_LIBRARY))
        elif word in _STATUS:
            parts.append(line)
    parts += [_read(f"/proc/self/{name}") for name in _FILES]
    for name in _LINKS:
        try:
            parts.append(os.fsencode(os.readlink(f"/proc/self/{name}")))
        except OSError:
            parts.append(b"?")
    return b"\n".join(parts)


def digest(process: bytes) -> str:
    """The name of what is like this process (`of_process`) in this environment: 32 hexadecimal digits."""
    from _blake2 import blake2b  # `hashlib` brings it with twenty others

    found = blake2b(process, digest_size=16)
    for name, value in sorted(os.environ.items()):
        if is_compared(name):
            found.update(b"\0" + os.fsencode(f"{name}={value}"))
    return found.hexdigest()


def of_connections(code: str) -> str:
    """The name of what is like this process in all that connections depend on: 32 hexadecimal digits.

    Args:
        code: the file of the code that makes them.
    """
    from _blake2 import blake2b

    own = [sys.executable, code, *(os.readlink(f"/proc/self/ns/{name}") for name in ("net", "mnt", "user"))]
    variables = (f"{name}={value}" for name, value in sorted(os.environ.items()) if is_kept(name))
    return blake2b(os.fsencode("\0".join([*own, *variables])), digest_size=16).hexdigest()


def _read(path: str) -> bytes:
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b"?"
    try:
        return os.read(file, 65536)
    except OSError:
        return b"?"
    finally:
        os.close(file)
