"""Programs that the helper starts from its own sources."""

from __future__ import annotations

import subprocess
from pathlib import Path

from lecoder_cgpu.guest.programs import Programs

SOURCES = {
    "part": "WORD = 'one'\n",
    "program": "import sys\nfrom . import part\ndef main():\n    print(part.WORD, *sys.argv[2:])\n",
}


def output(programs: Programs) -> str:
    done = subprocess.run(programs.command("program", "a", "b"), capture_output=True, text=True, check=True, timeout=60)
    return done.stdout.strip()


def test_a_program_finds_its_parts_and_arguments(tmp_path: Path) -> None:
    """It imports its siblings as the helper does."""
    assert output(Programs(str(tmp_path), SOURCES)) == "one a b"


def test_two_versions_live_side_by_side(tmp_path: Path) -> None:
    """Another version changes nothing for one that is in use."""
    first = Programs(str(tmp_path), SOURCES)
    second = Programs(str(tmp_path), {**SOURCES, "part": "WORD = 'two'\n"})
    assert (output(first), output(second), output(first)) == ("one a b", "two a b", "one a b")


def test_a_damaged_copy_is_mended(tmp_path: Path) -> None:
    """What a killed helper or somebody else left is not trusted."""
    first = Programs(str(tmp_path), SOURCES)
    (folder,) = tmp_path.iterdir()
    (folder / "part.py").write_text("WORD = ")
    (folder / "program.py").unlink()
    assert output(Programs(str(tmp_path), SOURCES)) == output(first) == "one a b"
    assert not list(folder.glob("*.tmp"))
