"""Sizes for people, in one system: the binary units that documents have, under the names that people use."""

from __future__ import annotations


def size(count: float) -> str:
    """A number of bytes: 812 bytes, 4.2 KB, 38.0 MB, 1.2 GB."""
    for unit in ("bytes", "KB", "MB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} GB"
