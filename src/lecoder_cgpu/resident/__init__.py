"""The resident: our helper on the runtime, which runs processes, keeps their output and reports on the machine.

The modules that `bootstrap.PARTS` names are executed on the runtime, where `bootstrap` sends them; `client`, `follow`
and `documents` are our side.
"""

from .client import Resident
from .documents import Chunk, GpuReport, Hello, Lease, Report, Result, RunState, Update
from .follow import Follower

__all__ = ["Chunk", "Follower", "GpuReport", "Hello", "Lease", "Report", "Resident", "Result", "RunState", "Update"]
