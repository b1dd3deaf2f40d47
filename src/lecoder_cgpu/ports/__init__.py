"""Ports of the runtime on this machine: through the kernel's channels, through the backend's proxy, and SSH.

Who may use it: the commands `forward`, `ssh` and `ssh-config`.
Never here: which address or token a backend's proxy has; the backend's `upstream` knows.
"""
