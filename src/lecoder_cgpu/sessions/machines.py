"""Servers whose kernels have machines of their own: there, the helper lives in the session's kernel.

Behind a gateway, two kernels need not have the same files, processes and ports (protocol J15). So each kernel that a
session starts on a server that may be such a gateway is asked once where it is. Where the helper and the session's
kernel are apart, the session goes on with one kernel: the one that was there first, in which something may have been
done. What acts on the runtime then acts there, or is refused.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from msgspec import structs

from .. import errors
from ..jupyter.kernel_channels import KernelConnection
from ..jupyter.kernelspecs import PYTHON
from ..store.session_store import KernelRecord, Record
from ..system import logs

if TYPE_CHECKING:
    from .session import Session

ASK_LIMIT = 10.0  # seconds for the answer of a kernel that may have been started only now

NEW_MACHINE = "with its new process, the session's kernel has a new machine"
SERVED = "commands, jobs and files are served by the session's own, slowly while it is busy, and they are gone with it"
# Runs on the runtime, in Python 3.8 and newer: the name of the host, and a hash of what only kernels that share files,
# processes, ports and a user have in common. Numbers of namespaces and devices are given again, so the start of the
# first process counts, too.
_WHERE = """
import hashlib, os, platform, tempfile
parts = [platform.node(), getattr(os, "getuid", int)()]
for name in ("mnt", "pid", "net", "uts", "user"):
    try:
        parts.append(os.readlink("/proc/self/ns/" + name))
    except OSError:
        parts.append("")
try:
    with open("/proc/sys/kernel/random/boot_id") as file:
        parts.append(file.read())
    with open("/proc/1/stat") as file:
        parts.append(file.read().rpartition(")")[2].split()[19])
except (OSError, IndexError):
    pass
for folder in (os.path.expanduser("~"), tempfile.gettempdir()):
    try:
        found = os.stat(folder)
        parts.append((os.path.realpath(folder), found.st_dev, found.st_ino))
    except OSError:
        parts.append(folder)
answer = platform.node() + " " + hashlib.sha256(repr(parts).encode()).hexdigest()[:16]
"""
_EXPRESSION = f"(lambda names: (exec({_WHERE!r}, names), names['answer'])[1])({{}})"


def machine_of(session: Session, kernel_id: str) -> str | None:
    """The machine of a Python kernel, which may be busy: two kernels are on the same one if the answers are equal. None
    when it does not tell."""
    try:
        connection = KernelConnection(session.server, kernel_id, session.known_gone)
    except errors.Error as error:
        logs.current().warn("KERNEL", f"its machine could not be asked: {error.message}", {"kernel": kernel_id})
        return None
    try:
        answer = connection.evaluate(_EXPRESSION, ASK_LIMIT, channel="control")
    finally:
        connection.close()
    return None if answer is None else answer.strip("'\"")


def require_one(session: Session, what: str) -> None:
    """Refuse what would be done on another machine than that of the session's kernel.

    Raises:
        errors.UsageError: (`KernelElsewhere`) the session's kernel has a machine of its own.
        errors.Error: it could not be found out.
    """
    # A gateway's are likely to be apart; a Jupyter server is not made to start a kernel for the question.
    matters = session.record.kernel is not None or not session.endpoint.lists
    if session.backend.kernels_apart and not session.record.apart and matters:
        session.kernel_id()
        session.connect_helper().close()
    if session.record.apart:
        raise errors.UsageError(
            f"the kernel of session {session.record.name!r} has a machine of its own, and {what} would be elsewhere",
            name="KernelElsewhere",
            hint="commands run where the kernel is: lecoder-cgpu run COMMAND, or lecoder-cgpu connect < commands.sh",
        )


def beside(session: Session, helper: KernelRecord) -> KernelRecord:
    """The helper's kernel that was just opened; the session's own kernel in its place where these are apart.

    Raises:
        errors.UsageError: (`KernelElsewhere`) they are apart, and the session's own kernel cannot have the helper.
    """
    if not session.backend.kernels_apart:
        return helper
    helper = structs.replace(helper, machine=machine_of(session, helper.id))
    own = session.record.kernel
    if own is None or own.language not in (PYTHON, None):
        return helper
    theirs = own.machine or machine_of(session, own.id)
    if None in (theirs, helper.machine) or theirs == helper.machine:
        return helper
    if helper.ours:
        session.server.delete_kernel(helper.id)
    _note_apart(session)
    return inside(session, structs.replace(own, machine=theirs))


def inside(session: Session, own: KernelRecord) -> KernelRecord:
    """The session's own kernel as that of the helper.

    Raises:
        errors.UsageError: (`KernelElsewhere`) it runs another language.
    """
    if own.language not in (PYTHON, None):
        raise errors.UsageError(
            f"the kernel of session {session.record.name!r} runs {own.language} on a machine of its own, where only a "
            "Python kernel can serve commands, jobs and files",
            name="KernelElsewhere",
            hint="code of its language runs: lecoder-cgpu run -m kernel CODE; a Python kernel has the rest: "
            "--kernel-name NAME, see lecoder-cgpu kernel list",
        )
    return KernelRecord(id=own.id, path=own.path, ours=False, binary=False, shared=True, machine=own.machine)


def inside_own(session: Session) -> KernelRecord:
    """The session's own kernel as that of the helper; it is started if there is none.

    Raises:
        errors.UsageError: (`KernelElsewhere`) see `inside`. errors.Error: it was not started.
    """
    own = session.record.kernel
    if own is not None:
        with contextlib.suppress(errors.NotFoundError):
            session.server.kernel(own.id)
            return inside(session, own)
    used, session.other_kernel = session.other_kernel, None
    try:
        return inside(session, session.open_kept(lost=own is not None))
    finally:
        session.other_kernel = used


def together(session: Session, kernel: KernelRecord) -> KernelRecord:
    """The session's kernel that was just opened; that of the helper in its place where these are apart and something
    may have been done there."""
    helper = session.record.helper
    if not session.backend.kernels_apart or kernel.language not in (PYTHON, None) or session.record.apart:
        return kernel
    kernel = structs.replace(kernel, machine=machine_of(session, kernel.id))
    if session.other_kernel is not None or helper is None or helper.machine is None or kernel.machine is None:
        return kernel
    if helper.machine == kernel.machine:
        return kernel
    if helper.ours and kernel.ours and helper.name == kernel.name:
        session.server.delete_kernel(kernel.id)
        session.server.move_session(helper.path, kernel.path)
        kernel = structs.replace(helper, path=kernel.path, language=PYTHON)
    else:
        before = helper.machine.partition(" ")[0]
        session.notify(f"what was uploaded and started before is on another machine, {before}")
        keep_for_closing(session, helper)
    _note_apart(session)
    shared = inside(session, kernel)
    session._change(lambda record: setattr(record, "helper", shared))
    return kernel


def note_unreachable(session: Session, kernel_id: str) -> None:
    """The helper does not find a kernel on its machine, and it did not tell where it is: nothing is done elsewhere."""
    own, helper = session.record.kernel, session.record.helper
    if session.record.apart or not session.backend.kernels_apart or own is None or own.id != kernel_id:
        return
    if own.machine is not None:
        return  # it said that it is on the same
    if helper is not None:
        keep_for_closing(session, helper)
    _note_apart(session, "only code runs there, and no commands, jobs or files")
    session._change(lambda record: setattr(record, "helper", None))


def look_again(session: Session, since: float) -> bool:
    """Whether the session's kernel is on another machine than it was, as it may be with another process. Then what was
    done on the earlier one cannot be found any more.

    Args:
        since: the Unix time from which on work is on the machine where the kernel is now.
    """
    own = session.record.kernel
    if not session.record.apart or own is None:
        return False
    found = machine_of(session, own.id)
    if found is None or found == own.machine:
        return False
    moved = own.machine is not None

    def change(record: Record) -> None:
        if record.kernel is None or record.kernel.id != own.id or record.kernel.machine == found:
            return  # another command has seen it before
        record.kernel = structs.replace(record.kernel, machine=found)
        if moved:
            record.machine_since = since

    session._change(change)
    if moved:
        session.notify(f"{NEW_MACHINE}: what ran and lay on the earlier one cannot be reached any more")
    return moved


def keep_for_closing(session: Session, kernel: KernelRecord) -> None:
    """Remember a kernel that is not used any more, so that it ends with the session."""
    unnamed = structs.replace(kernel, name=None)
    session._change(lambda record: record.kernels.__setitem__(kernel.id, unnamed))


def _note_apart(session: Session, what: str = SERVED) -> None:
    def change(record: Record) -> None:
        record.apart = True

    session._change(change)
    session.notify(f"the kernels of this server have machines of their own: {what}")
