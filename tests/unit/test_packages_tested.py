"""Every package has tests of its own, which need no server: a change in it is checked within the default minute."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import lecoder_cgpu

HERE = Path(__file__).parent
SOURCE = Path(lecoder_cgpu.__file__).parent

# The files of this folder that test each package. Begin here when you look for the place of a new test.
TESTS = {
    "agents": ("test_agent_tools",),
    "api": ("test_api_outcomes",),
    "auth": ("test_consent",),
    "backends": ("test_colab_model", "test_colab_records", "test_registry"),
    "cli": ("test_hints", "test_parse", "test_watch"),
    "diagnostics": ("test_doctor", "test_installation"),
    "docgen": ("test_docgen", "test_errors"),
    "files": ("test_file_service", "test_generations", "test_moments", "test_sync_plan", "test_trees"),
    "guest": ("test_executor", "test_guest_parts", "test_lease_guard", "test_recorder", "test_supervisor"),
    "helper": ("test_file_errors", "test_follow", "test_helper_answers", "test_launch"),
    "history": ("test_history", "test_history_images", "test_history_page"),
    "jupyter": ("test_execution_watch", "test_outputs", "test_terminal", "test_wire"),
    "keeper": ("test_keeper_decisions",),
    "models": ("test_model_fields", "test_models"),
    "net": ("test_net_clients", "test_net_retry"),
    "notebooks": ("test_notebook", "test_notebook_templates"),
    "ports": ("test_http_head", "test_port_link"),
    "remote_functions": ("test_travel",),
    "runs": ("test_attempts", "test_explain", "test_installs", "test_recording", "test_runs"),
    "sessions": ("test_sessions_choice",),
    "store": ("test_leases", "test_owners", "test_sessions"),
    "sweeps": ("test_sweep_items",),
    "system": ("test_atomic_files", "test_logs", "test_process_identity", "test_redaction"),
    "testing": ("test_fake_colab", "test_fake_drive", "test_fake_oauth"),
    "warm": ("test_warm",),
}


def packages() -> set[str]:
    return {path.parent.name for path in SOURCE.glob("*/__init__.py")}


def imported(path: Path) -> set[str]:
    """The packages that a file of tests imports from, also in programs that it gives to other processes."""
    text = path.read_text("utf-8")
    found = {name for name in packages() if f"lecoder_cgpu.{name}" in text}
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and node.module == "lecoder_cgpu":
            found |= {alias.name for alias in node.names}
    return found


def test_every_package_is_listed() -> None:
    """A new package comes with its tests, and one that is gone leaves the list."""
    assert set(TESTS) == packages()


@pytest.mark.parametrize("package", TESTS)
def test_a_package_has_tests_of_its_own(package: str) -> None:
    """The files exist, and import from the package."""
    assert TESTS[package]
    for name in TESTS[package]:
        assert package in imported(HERE / f"{name}.py"), f"{name}.py imports nothing from {package}/"
