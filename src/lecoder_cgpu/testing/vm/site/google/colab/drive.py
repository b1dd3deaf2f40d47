"""The user's Drive as a folder."""

from __future__ import annotations

import os

from . import _message


def mount(mountpoint: str, force_remount: bool = False, timeout_ms: int = 120000, readonly: bool = False) -> None:
    """Ask the client for the user's consent, then show Drive at `mountpoint`; a folder `MyDrive`, here.

    Raises:
        MessageError: the client refused. ValueError: the VM has no credentials all the same.
    """
    _message.blocking_request("request_auth", {"authType": "dfs_ephemeral"}, timeout_sec=timeout_ms / 1000)
    # As on Colab, a missing answer is noticed only when the mount itself fails.
    if "dfs_ephemeral" not in _message.ask("/credentials"):
        raise ValueError("mount failed")
    where = mountpoint
    if mountpoint.startswith("/content"):
        where = os.environ["FAKE_COLAB_ROOT"] + mountpoint  # the VM's own `/content`, not this machine's
    os.makedirs(os.path.join(where, "MyDrive"), exist_ok=True)
    print(f"Mounted at {mountpoint}")
