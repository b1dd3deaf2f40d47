"""A session that was stored a moment ago: forgotten when nothing could start, and kept when another command could."""

from __future__ import annotations

from pathlib import Path

from lecoder_cgpu import errors
from lecoder_cgpu.config import Config
from lecoder_cgpu.sessions import first_use
from lecoder_cgpu.sessions.manager import SessionManager
from lecoder_cgpu.store.session_store import new_record


def test_the_luckier_of_two_commands_keeps_the_session(tmp_path: Path) -> None:
    """One could not start the server, and forgot the session; the other one could."""
    manager = SessionManager(Config({"storageDir": str(tmp_path / "state")}))
    record = new_record("local", "local", "Local runtime", "local:local")
    manager.store.add(record)
    unlucky, lucky = manager.hold(record), manager.hold(record)
    unlucky.untried = True
    first_use.failed(unlucky, errors.CapacityError("it did not start"))
    assert manager.store.records() == []
    manager.store.add(new_record("local", "local", "Local runtime", "local:local"))  # a third one has begun
    first_use.started(lucky)
    first_use.started(lucky)
    assert [item.name for item in manager.store.records()] == ["local", f"local-{record.id[:8]}"]
    assert manager.store.active().id == record.id  # type: ignore[union-attr]
