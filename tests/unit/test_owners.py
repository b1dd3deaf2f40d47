"""Whether the process that a runtime was started for is gone is answered with certainty, or not at all."""

from __future__ import annotations

import subprocess
import sys

from msgspec import structs

from lecoder_cgpu.store import owners
from lecoder_cgpu.store.session_store import Owner
from lecoder_cgpu.system import process_identity


def test_this_process_is_there() -> None:
    assert owners.is_gone(owners.this_process()) is False


def test_a_process_that_ended_is_gone() -> None:
    """Once it has ended, and been waited for."""
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    owner = structs.replace(owners.this_process(), pid=child.pid, identity=process_identity.of(child.pid) or "")
    assert owners.is_gone(owner) is False
    child.communicate(b"\n", timeout=60)
    assert owners.is_gone(owner) is True


def test_a_number_that_another_process_has_now() -> None:
    """It is not the owner."""
    assert owners.is_gone(structs.replace(owners.this_process(), identity="another's")) is True


def test_what_cannot_be_known() -> None:
    """Processes of other machines cannot be seen, and some records have no owner: nothing is given back for that."""
    assert owners.is_gone(None) is False
    assert owners.is_gone(Owner(pid=1, identity="", host="another machine")) is False
