"""Writes files to a repository of the Hugging Face Hub, and reads back what the Hub has of them.

A program of its own on the runtime, for the Python that has `huggingface_hub`. On stdin comes an order as JSON: kind,
repo, revision, message, add (pairs of a path here and a name there) and delete (names there); on stdout goes
`{"problem": null}`, or why it failed, and with `missing`, that the library is not there. The token comes in `HF_TOKEN`.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from typing import Any

BLOCK = 1 << 20
ASKED = 500  # names in one question
WORDS = 300  # characters of a problem


def main() -> None:
    """Do what the order on stdin says."""
    order = json.loads(sys.stdin.read())
    problem: str | None
    try:
        import huggingface_hub
    except ImportError as error:
        problem, missing = f"huggingface_hub cannot be imported there ({error})", True
    else:
        missing = False
        try:
            problem = _written(huggingface_hub, order)
        except Exception as error:  # of whatever the library uses
            problem = f"{type(error).__name__}: {error}"
    if problem is not None:
        problem = " ".join(problem.replace(os.environ.get("HF_TOKEN") or "\0", "***").split())[:WORDS]
    print(json.dumps({"problem": problem, "missing": missing}))


def _written(library: Any, order: dict[str, Any]) -> str | None:
    """Commit; why the Hub does not have it, if so."""
    api = library.HfApi(token=os.environ["HF_TOKEN"])
    where = {"repo_id": order["repo"], "repo_type": order["kind"]}
    try:
        api.repo_info(**where)
    except library.errors.RepositoryNotFoundError:
        api.create_repo(**where, private=True, exist_ok=True)
    if order["revision"] != "main":
        api.create_branch(**where, branch=order["revision"], exist_ok=True)
    where["revision"] = order["revision"]
    operations = [library.CommitOperationAdd(name, path) for path, name in order["add"]]
    operations += [library.CommitOperationDelete(name) for name in order["delete"]]
    there = {} if order["delete"] == [] else _there(library, api, where, order["delete"])
    operations = [item for item in operations if hasattr(item, "path_or_fileobj") or item.path_in_repo in there]
    if operations:
        api.create_commit(**where, operations=operations, commit_message=order["message"])
    there = _there(library, api, where, [name for _, name in order["add"]] + order["delete"])
    for path, name in order["add"]:
        if name not in there:
            return f"the Hub does not have {name} after it was written; does a .gitignore there leave it out?"
        if not _is_same(path, there[name]):
            return f"what the Hub has as {name} is not what was sent"
    for name in order["delete"]:
        if name in there:
            return f"the Hub still has {name} after it was deleted"
    return None


def _there(library: Any, api: Any, where: dict[str, str], names: list[str]) -> dict[str, Any]:
    """What the Hub has of these files, by name."""
    found = {}
    for first in range(0, len(names), ASKED):
        for item in api.get_paths_info(paths=names[first : first + ASKED], **where):
            if isinstance(item, library.hf_api.RepoFile):
                found[item.path] = item
    return found


def _is_same(path: str, item: Any) -> bool:
    """Whether what the Hub has is a file here, by its hash."""
    size = os.path.getsize(path)
    digest, blob = hashlib.sha256(), hashlib.sha1(b"blob %d\0" % size)  # noqa: S324 - as git has it
    with open(path, "rb") as file:
        while True:
            block = file.read(BLOCK)
            if not block:
                break
            digest.update(block)
            blob.update(block)
    if item.lfs:
        return bool(item.lfs.sha256 == digest.hexdigest())
    return bool(item.size == size and item.blob_id == blob.hexdigest())


if __name__ == "__main__":
    main()
