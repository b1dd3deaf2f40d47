"""What goes wrong with a file is told with its class, its side and what to do next."""

from __future__ import annotations

import pytest

from lecoder_cgpu import errors
from lecoder_cgpu.guest import trees
from lecoder_cgpu.helper.file_errors import HERE, THERE, error_of


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("FileNotFound", errors.FileNotFound),
        ("NotADirectory", errors.OtherKindOfFile),
        ("DiskFull", errors.TransferError),
        ("VerifyFailed", errors.VerifyFailed),
        ("SomethingNew", errors.TransferError),  # of a later helper
    ],
)
def test_the_class_goes_by_the_name(name: str, kind: type[errors.Error]) -> None:
    """A name that this version does not know is a transfer that failed, not a bug."""
    error = error_of(trees.Problem(name, "it cannot be"), THERE)
    assert type(error) is kind
    assert (error.name, error.message) == (name, "it cannot be (on the runtime)")


def test_the_hint_is_for_the_side() -> None:
    """Room is made, and files are found, with other commands here than there."""
    there, here = (error_of(trees.Problem("DiskFull", "full"), side).hint or "" for side in (THERE, HERE))
    assert there.startswith("lecoder-cgpu rm PATH")
    assert here.startswith("rm PATH")
    assert error_of(trees.Problem("FileNotFound", "gone"), THERE).hint == "see what is there: lecoder-cgpu ls FOLDER"


def test_every_mistake_of_the_user_has_a_hint() -> None:
    """Bad input gets an error that says what to do next."""
    for name in ("IsADirectory", "UnsafeName", "FolderNotEmpty"):
        assert error_of(trees.Problem(name, "no"), HERE).hint
