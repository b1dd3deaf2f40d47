"""The VM itself."""

from __future__ import annotations

import http.client
import os

from .errors import RuntimeManagementError


def unassign() -> None:
    """Give the VM back."""
    address = os.environ.get("TBE_RUNTIME_ADDR")
    if not address:
        raise RuntimeManagementError("Unable to find the runtime management service.")
    connection = http.client.HTTPConnection(address, timeout=30)
    try:
        connection.request("POST", "/unassign")
        if connection.getresponse().status != 200:
            raise RuntimeManagementError("Unable to request VM unassignment.")
    finally:
        connection.close()
