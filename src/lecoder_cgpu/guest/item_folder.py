"""Makes the folder of one item of a sweep, and becomes the item's command in it.

Runs on the runtime as a process of its own (Python 3.8 and newer, standard library only):

    python item_folder.py FOLDER CODE COMMAND...

CODE is the folder of what was sent, `-` when nothing was. Its files are shared where that is safe: the file system
clones them, or those of a mebibyte and more become hard links; small ones, which programs change in place, are copied.
A COMMAND of one word with white space is a line for the shell.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

LINKED = 1 << 20  # bytes from which on a file is not copied
CLONE = 0x40049409  # FICLONE of Linux: two files share their blocks until one is changed


def main() -> None:
    """Make the folder, and execute the command there."""
    folder, code = sys.argv[1:3]
    command = sys.argv[3:]
    try:
        make(folder, code)
    except OSError as error:
        sys.exit(f"lecoder-cgpu: the item's folder {folder} cannot be made: {error}")
    os.chdir(folder)
    os.environ["PWD"] = os.getcwd()
    if len(command) == 1 and len(command[0].split()) > 1:
        command = [shutil.which("bash") or "sh", "-c", command[0]]
    try:
        if os.name == "nt":
            sys.exit(subprocess.call(command))
        os.execvp(command[0], command)  # noqa: S606 - the user's own command
    except OSError as error:
        sys.stderr.write(f"{command[0]}: {error.strerror}\n")
        sys.exit(127 if isinstance(error, FileNotFoundError) else 126)


def make(folder: str, code: str) -> None:
    """Make the folder, with what was sent in it. What an earlier attempt to make it has left is replaced."""
    whole = os.path.abspath(folder)
    if code == "-":
        os.makedirs(whole, exist_ok=True)
        return
    part = whole + ".part"
    for left in (part, whole):
        if os.path.lexists(left):
            shutil.rmtree(left)
    os.makedirs(os.path.dirname(whole), exist_ok=True)
    copy(os.path.abspath(code), part)
    os.rename(part, whole)


def copy(source: str, target: str) -> None:
    """Copy a folder with all that is in it."""
    os.mkdir(target)
    with os.scandir(source) as entries:
        for entry in entries:
            there = os.path.join(target, entry.name)
            if entry.is_symlink():
                os.symlink(os.readlink(entry.path), there)
            elif entry.is_dir():
                copy(entry.path, there)
            elif entry.stat().st_size < LINKED or not share(entry.path, there):
                shutil.copy2(entry.path, there)
    shutil.copystat(source, target)


def share(source: str, target: str) -> bool:
    """Have two names for one content; whether the file system can do that."""
    if clone(source, target):
        return True
    try:
        os.link(source, target)
    except OSError:
        return False
    return True


def clone(source: str, target: str) -> bool:
    """Make a copy that shares its blocks with the original, where the file system can."""
    if not sys.platform.startswith("linux"):
        return False
    import fcntl

    with open(source, "rb") as original, open(target, "xb") as other:
        try:
            fcntl.ioctl(other.fileno(), CLONE, original.fileno())
        except OSError:
            pass
        else:
            shutil.copystat(source, target)
            return True
    os.unlink(target)
    return False


if __name__ == "__main__":
    main()
