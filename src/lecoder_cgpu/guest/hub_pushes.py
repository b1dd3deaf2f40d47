"""Copies results of a run to a repository of the Hugging Face Hub while it runs (`--push out:hf://me/model`).

Runs on the runtime (Python 3.8 and newer, standard library only), in a run's supervisor; `hub_upload` is the program
that uses the Hub's own library. Each round is one commit, which is there as a whole or not at all, and it is one moment
of the source: what is new is copied aside, and the source is looked at again. If anything has changed meanwhile, that
is copied once more. What changes all the time is left out, as far as it is not the beginning of what is there (a log).
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

from . import pushed_files
from .processes import unhurried

if TYPE_CHECKING:
    from .pushed_files import Stamp


HUB = "hf://"
KINDS = {"datasets": "dataset", "spaces": "space", "models": "model"}
ROUNDS = 4
PAUSE = 0.5  # seconds before what changed is copied again
WITHOUT = ("LECODER_CGPU_RUN",)  # variables that make a process one of the run
QUIET = {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "PYTHONWARNINGS": "ignore"}
# A script's own folder would be searched for modules: the parts of the helper have names that others have, too.
_START = "import sys; exec(compile(open(sys.argv[1], encoding='utf-8').read(), sys.argv[1], 'exec'))"
_PROGRAM = os.path.join(os.path.dirname(os.path.abspath(__file__)), "hub_upload.py")


class HubPush(pushed_files.Declared):
    """To an address, as `runs/pushed.py` has checked it.

    Args:
        aside: a folder for copies, which is made and deleted. environment: of the run, with its token.
    """

    def __init__(self, source: str, target: str, aside: str, environment: dict[str, str]) -> None:
        super().__init__(source, target)
        self._aside = aside
        self._environment = {**environment, **QUIET}
        for name in WITHOUT:
            self._environment.pop(name, None)
        path = target[len(HUB) :].strip("/").split("/")
        kind = KINDS.get(path[0])
        if kind is not None:
            del path[0]
        name, _, revision = path[1].partition("@")
        self._order = {"kind": kind or "model", "repo": f"{path[0]}/{name}", "revision": revision or "main"}
        self._folder = "".join(f"{part}/" for part in path[2:])
        self._python: str | None = None  # the one that has the library

    def _round(self, deadline: float, *, last: bool) -> None:
        try:
            found, staged = self._moment()
            gone = [] if self.restless else sorted(set(self._there) - set(found))
            if staged or gone:
                self._commit(sorted(staged), gone, deadline, "Results of a run", last=last)
                self._there.update(staged)
                for name in gone:
                    del self._there[name]
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            self.problem = str(error)
        finally:
            shutil.rmtree(self._aside, ignore_errors=True)

    def end(self, document: dict[str, Any], deadline: float) -> None:
        try:
            os.makedirs(self._aside, mode=0o700, exist_ok=True)
            with open(os.path.join(self._aside, pushed_files.DONE), "w", encoding="utf-8") as file:
                json.dump(document, file)
            self._commit([pushed_files.DONE], [], deadline, "The end of a run", last=True)
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            self.problem = self.problem or str(error)
        finally:
            shutil.rmtree(self._aside, ignore_errors=True)

    def _moment(self) -> tuple[dict[str, Stamp], dict[str, Stamp]]:
        """Copy aside what is new; returns how the source is, and what was copied, which is one moment of it."""
        staged: dict[str, Stamp] = {}
        found = pushed_files.listing(self.source)
        for number in range(ROUNDS):
            if number:
                time.sleep(PAUSE)
            for name in set(staged) - set(found):
                del staged[name]
            for name, stamp in found.items():
                if self._there.get(name) != stamp and staged.get(name) != stamp:
                    self._stage(name, stamp)
                    staged[name] = stamp
            after = pushed_files.listing(self.source)
            changed = {name for name in {*found, *after} if after.get(name) != found.get(name)}
            changed = {name for name in changed if not self._only_grew(name, staged, after)}
            if not changed:
                return found, staged
            found = after
        units = {name.partition("/")[0] for name in changed}
        self.restless = sorted(units)
        return found, {name: stamp for name, stamp in staged.items() if name.partition("/")[0] not in units}

    def _stage(self, name: str, stamp: Stamp) -> None:
        path = os.path.join(self._aside, name)
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):  # as the next listing will tell
            pushed_files.write(pushed_files.path(self.source, name), path, stamp[0])

    def _only_grew(self, name: str, staged: dict[str, Stamp], after: dict[str, Stamp]) -> bool:
        """Whether the copy of a file is the beginning of what is there now."""
        if name not in staged or name not in after or after[name][0] <= staged[name][0]:
            return False
        copy, size = os.path.join(self._aside, name), staged[name][0]
        try:
            same = pushed_files.digest(copy) == pushed_files.digest(pushed_files.path(self.source, name), size)
        except OSError:
            return False
        return same and os.path.getsize(copy) == size

    def _commit(self, names: list[str], gone: list[str], deadline: float, message: str, *, last: bool) -> None:
        add = [[os.path.join(self._aside, name), self._folder + name] for name in names]
        order = {**self._order, "message": message, "add": add, "delete": [self._folder + name for name in gone]}
        os.makedirs(self._aside, mode=0o700, exist_ok=True)
        problem = "there is no Python"
        for python in [self._python] if self._python else self._pythons():
            answer = self._asked(python, order, deadline, last=last)
            if answer["problem"] is None:
                self._python = python
                return
            problem = answer["problem"]
            if not answer["missing"]:
                break
            problem += ": lecoder-cgpu install huggingface_hub"
        raise ValueError(problem)

    def _asked(self, python: str, order: dict[str, Any], deadline: float, *, last: bool) -> dict[str, Any]:
        done = subprocess.run(
            [*([] if last else unhurried()), python, "-c", _START, _PROGRAM],
            input=json.dumps(order).encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=self._environment,
            cwd=self._aside,
            timeout=max(deadline - time.monotonic(), 1.0),
            check=False,
        )
        try:
            answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
            return {"problem": answer["problem"], "missing": answer["missing"]}
        except (ValueError, LookupError, TypeError):
            return {"problem": f"the upload ended with status {done.returncode}", "missing": False}

    def _pythons(self) -> list[str]:
        """The Pythons that may have the library: that of the kernel, and that which the command finds."""
        path = self._environment.get("PATH")
        found = [sys.executable, *(shutil.which(name, path=path) for name in ("python3", "python"))]
        return list(dict.fromkeys(python for python in found if python))
