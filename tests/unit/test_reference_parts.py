"""Parts of the reference fit into an agent's context, and the page for agents is put where they look."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import msgspec
import pytest

from lecoder_cgpu import errors
from lecoder_cgpu.agents import skill_places
from lecoder_cgpu.cli.app import root
from lecoder_cgpu.docgen import parts
from lecoder_cgpu.docgen.describe import describe
from tests.contract.test_documents import validate

PROJECT = Path(__file__).parents[2]
MOST = 6 << 10  # bytes


def test_parts_are_short() -> None:
    """Every command, code and setting: as JSON and for people."""
    reference = describe(root)
    for name in parts.names(reference):
        kind, _, rest = name.partition(" ")
        look = {"error": parts.of_error, "exit": parts.of_exit, "setting": parts.of_setting}.get(kind)
        part = parts.of_command(reference, name) if look is None else look(reference, rest)
        assert part is not None, name
        encoded = msgspec.json.format(msgspec.json.encode(part), indent=2)
        assert max(len(encoded), len(parts.text(part).encode())) < MOST, name
        validate(msgspec.to_builtins(part), "reference-part")


def test_what_parts_say() -> None:
    reference = describe(root)
    lost = parts.of_error(reference, "RuntimeLost")
    assert lost is not None
    assert (lost.error_codes, lost.exit_codes) == ([2004], [74])
    by_variable = parts.of_setting(reference, "LECODER_CGPU_BACKEND")
    assert by_variable is not None
    assert by_variable.name == "setting backend"
    assert parts.of_error(reference, "75").name == "exit status 75"  # type: ignore[union-attr]
    assert (parts.of_command(reference, "jo"), parts.of_error(reference, "9"), parts.of_setting(reference, "x")) == (
        None,
    ) * 3


def test_pages_for_agents_are_short() -> None:
    """What costs context in every session of an agent has fewer than 120 lines."""
    for page in ("docs/agents.md", "src/lecoder_cgpu/SKILL.md"):
        assert len((PROJECT / page).read_text().splitlines()) < 120, page


def test_the_page_is_put_where_agents_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Again is the same, what is not ours stays, and it is taken away without a trace."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    for kind, folder in skill_places.PLACES.items():
        target = tmp_path / folder / "lecoder-cgpu" / "SKILL.md"
        assert skill_places.install(kind.upper()) == skill_places.install(kind) == target
        assert target.read_text("utf-8") == skill_places.page()
        assert skill_places.remove(kind) == (target, [])
        assert not target.parent.exists()
        assert skill_places.remove(kind) == (None, [])
    assert skill_places.install("codex") == skill_places.install("agents")  # they read the same file
    assert skill_places.remove("codex").kept_for == ["agents"]
    assert skill_places.remove("codex").kept_for == ["agents"]
    assert skill_places.remove("agents").kept_for == []
    target = skill_places.install(str(tmp_path / "mine"))
    target.write_text("---\nname: another\n---\n")
    for act in (skill_places.install, skill_places.remove):
        with pytest.raises(errors.UsageError, match="another skill"):
            act(str(tmp_path / "mine"))
    target.write_text(skill_places.page() + "mine\n")
    for act in (skill_places.install, skill_places.remove):
        with pytest.raises(errors.UsageError, match="edited"):
            act(str(tmp_path / "mine"))
    assert target.read_text().endswith("mine\n")
    earlier = "---\nname: lecoder-cgpu\n---\n"
    target.write_text(earlier)  # of another version, as it was put there
    target.with_name(skill_places.INSTALLED).write_text(sha256(earlier.encode()).hexdigest())
    assert skill_places.install(str(tmp_path / "mine")).read_text("utf-8") == skill_places.page()
    (tmp_path / "linked" / "lecoder-cgpu").mkdir(parents=True)
    (tmp_path / "linked" / "lecoder-cgpu" / "SKILL.md").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(errors.UsageError, match="link"):
        skill_places.install(str(tmp_path / "linked"))
    assert not (tmp_path / "elsewhere").exists()
    with pytest.raises(errors.UsageError, match="no kind of agent"):
        skill_places.install("cluade")
