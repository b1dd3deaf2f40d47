"""Becomes a shell with stdin as its controlling terminal. Runs on the VM."""

import fcntl
import os
import termios

if __name__ == "__main__":
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    os.execvp("bash", ["bash", "--noprofile", "--norc", "-i"])  # noqa: S606
