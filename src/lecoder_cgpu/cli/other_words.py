"""Words that users of other tools type for a command, and what it is called here. Pure."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import click

NEAR = 0.7  # of difflib's ratio, from which on one word is taken for another

_RUNTIMES = """
runtime runtimes machine machines instance instances vm vms pod pods cluster clusters container containers server
servers nodes
"""
_PROGRAMS = """
mkdir mv touch find df du free htop git apt apt-get make node npm torchrun accelerate gcloud gsutil kaggle hf
huggingface-cli wget curl tar unzip nvcc
"""

# What Google's colab, docker, kubectl, gh, modal, runpod and sky call it -> the words to type here.
OTHER_WORDS = {
    "exec": "run",
    "python": "run python",
    "submit": "run --detach",
    "launch": "run --detach",
    "new": "sessions create",
    "create": "sessions create",
    "start": "sessions ensure",
    "up": "sessions ensure",
    "add": "sessions add",
    "use": "sessions switch",
    "stop": "sessions close",
    "down": "sessions close",
    "close": "sessions close",
    "release": "sessions close",
    "terminate": "sessions close",
    "unassign": "sessions close",
    "delete": "sessions close",
    "rename": "sessions rename",
    "adopt": "sessions adopt",
    "session": "sessions list",
    "list": "sessions list",
    "keepalive": "keeper status",
    "keep-alive": "keeper status",
    "restart": "kernel restart",
    "restart-kernel": "kernel restart",
    "interrupt": "kernel interrupt",
    "repl": "connect -m kernel",
    "ipython": "connect -m kernel",
    "console": "connect",
    "shell": "connect",
    "sh": "connect",
    "terminal": "connect",
    "attach": "run --attach RUN_ID",
    "ps": "job list",
    "jobs": "job list",
    "kill": "job kill JOB",
    "cancel": "job kill JOB",
    "wait": "job wait JOB",
    "log": "logs",
    "tail": "job logs JOB",
    "history": "logs",
    "cp": "upload",
    "scp": "upload",
    "push": "upload",
    "put": "upload",
    "pull": "download",
    "get": "download",
    "rsync": "sync",
    "drivemount": "colab mount",
    "mount": "colab mount",
    "drive": "colab mount",
    "pip": "install",
    "nb": "notebook",
    "papermill": "notebook run",
    "port-forward": "forward",
    "tunnel": "forward",
    "url": "open --print",
    "browser": "open",
    "gpu": "gpus",
    "tpu": "gpus",
    "tpus": "gpus",
    "info": "status",
    "nvidia-smi": 'run "nvidia-smi"',
    "units": "usage",
    "balance": "usage",
    "pay": "usage",
    "whoami": "auth status",
    "profiles": "profile list",
    "account": "profile list",
    "accounts": "profile list",
    "settings": "config show",
    "secrets": "run --secret NAME",
    "env": "run --env NAME=VALUE",
    "login": "auth login",
    "update": "upgrade",
    "self-update": "upgrade",
    "mcp-server": "mcp",
    "version": "--version",
    "man": "--help",
    "docs": "--help",
    "commands": "--help",
    "quickstart": "example train",
    "tutorial": "example train",
    "demo": "example train",
    "setup": "auth setup",
    "signin": "auth login",
    "auth-login": "auth login",
    "check": "doctor",
    "diagnose": "doctor",
    "train": "run train.py",
    "script": "run train.py",
    "bash": 'run "COMMAND"',
    "cmd": 'run "COMMAND"',
    "deploy": "run --detach",
    "queue": "job list",
    "tasks": "job list",
    "stream": "job logs JOB",
    "follow": "job logs JOB",
    "output": "job logs JOB",
    "inspect": "job show JOB",
    "describe": "job show JOB",
    "resume": "sweep resume",
    "result": "download",
    "results": "download",
    "artifact": "download",
    "artifacts": "download",
    "watch": "sync --watch",
    "tensorboard": "forward 6006",
    "port": "forward",
    "ports": "forward",
    "expose": "forward",
    "proxy": "forward",
    "lab": "open",
    "jupyter": "open",
    "nbconvert": "notebook convert",
    "conda": "install",
    "uv": "install",
    "rmdir": "rm",
    "price": "gpus",
    "prices": "gpus",
    "pricing": "gpus",
    "show-gpus": "gpus",
    "list-gpus": "gpus",
    "accelerators": "gpus",
    "cost": "usage",
    "costs": "usage",
    "credits": "usage",
    "quota": "usage",
    "limits": "usage",
    "secret": "run --secret NAME",
    "autostop": "run --idle-release TIME",
    "autodown": "run --idle-release TIME",
    "rent": "sessions create",
    "stop-all": "sessions close --all",
    "destroy": "sessions close",
    "disconnect": "sessions close",
    "factory-reset": "run --new-runtime",
    "reset": "kernel restart",
    "reboot": "kernel restart",
    "execute": "run",
    "remove": "sessions close",
    "token": "auth login",
    "browse": "open",
    "image": "install",
    "images": "install",
    "build": "install",
    "app": "job list",
    "apps": "job list",
    "volume": "sync",
    "volumes": "sync",
    "kernels": "job list",
    "kernelspec": "kernel list",
    "kernelspecs": "kernel list",
    "datasets": "upload",
    "dataset": "upload",
    "compute": "sessions list",
    "trust": "run NOTEBOOK",
    **dict.fromkeys(_RUNTIMES.split(), "sessions list"),
    **{word: f'run "{word} …"' for word in _PROGRAMS.split()},
}


# Two words that mean something else than the first one alone: of modal, kaggle, runpodctl, gcloud, kubectl and pip.
_PHRASES = {
    "app logs": "job logs JOB",
    "app stop": "job kill JOB",
    "volume get": "download",
    "volume put": "upload",
    "volume ls": "ls",
    "kernels push": "run --detach --sync . python train.py",
    "kernels status": "job show JOB",
    "kernels output": "download",
    "kernels pull": "download",
    "datasets download": 'run "kaggle datasets download …"',
    "compute ssh": "ssh",
    **dict.fromkeys(("create pod", "start pod"), "sessions create NAME --gpu T4"),
    **dict.fromkeys(("get pod", "get pods", "get nodes", "get all"), "sessions list"),
    **dict.fromkeys(("stop pod", "remove pod", "delete pod"), "sessions close"),
    **dict.fromkeys(("pip install", "uv add", "conda install"), "install"),
    **{f"pip {word}": f'run "pip {word}"' for word in ("list", "show", "freeze", "uninstall", "download")},
}


# What a command has here, if its first word is an option of it, and what other tools call that; or another command.
_OPTIONS = {
    "--gpu T4": "--gpus --num-gpus --gpu-type --gpu-count --accelerator --accelerators --flavor --machine --hardware",
    "--detach": "-d -D --bg --no-wait --async --detached --detach-run",
    "lecoder-cgpu connect": "-i -t -it --interactive --tty",
    "--sync DIR": "-w --workdir --working-dir -v --volume --volumes --mount --file-mounts",
    "--rm": "--down --autodown --terminate --delete-after --no-keep",
    "--name NAME": "--label --labels --job-name --tag --title",
    "--secret NAME": "--secrets --secret-env",
    "--env NAME=VALUE": "--envs --env-vars --environment",
    "--high-ram": "--high-mem --highmem --high-memory",
    "--outputs DIR": "--output-image --save-images --images",
    "--idle-release 30m": "--autostop --auto-stop --idle-minutes-to-autostop --idle",
    "--timeout 2h": "--max-time --time-limit --time --max-duration",
    "lecoder-cgpu install PACKAGE": "--requirements --pip --with --packages",
    "name it in .lecoderignore": "--exclude --ignore",
    "--token-stdin < FILE": "--token",
    "--password-stdin < FILE": "--password",
    "--all": "-a",
    "lecoder-cgpu forward 8000": "-p --port --publish",
    "lecoder-cgpu run --attach RUN_ID": "-f --follow",
    "leave it out: folders are copied whole": "-r --recursive",
    "leave it out: that is how it works here": "-q --quiet -y --yes --keep",
}
_OTHER_OPTIONS = {word: here for here, words in _OPTIONS.items() for word in words.split()}


def option_here(name: str, command: click.Command | None) -> str | None:
    """What an option of another tool is called for a command here; None if it is no such option, or has none here."""
    if command is None:
        return None
    there = {option for parameter in command.params for option in parameter.opts}
    if "--signal" in there and (signal := re.fullmatch(r"-(\d+|(?:SIG)?[A-Z]{3,4})", name)) is not None:
        return f"--signal {signal[1]}"
    here = _OTHER_OPTIONS.get(name)
    return here if here is not None and (not here.startswith("--") or here.split()[0] in there) else None


def option_beside(name: str, context: click.Context) -> str | None:
    """The help of the one other command of a group that has such an option: `--root` of `sessions create` is of
    `sessions add`. None outside groups, and where several commands have it."""
    group = context.parent
    if group is None or group.parent is None:
        return None
    words = group.command.list_commands(group)  # type: ignore[attr-defined]
    commands = {word: group.command.get_command(group, word) for word in words}  # type: ignore[attr-defined]
    found = [word for word, one in commands.items() if name in {text for item in one.params for text in item.opts}]
    return (
        f"{group.command_path} {found[0]} has {name}: {group.command_path} {found[0]} --help"
        if len(found) == 1
        else None
    )


# Words for the same thing behind the name of a group, the best first: `sessions stop` is `sessions close`.
_ALIKE = (
    ("list", "show", "ls", "all"),
    ("show", "status", "get", "info", "describe", "inspect", "view", "list", "current", "whoami"),
    (
        "close", "kill", "stop", "delete", "unset", "logout", "clean", "interrupt", "rm", "remove", "del", "end",
        "cancel", "terminate", "destroy", "revoke", "drop", "forget",
    ),
    ("create", "ensure", "run", "new", "add", "make", "start", "up", "init", "launch"),
    ("switch", "use", "activate", "select", "choose", "checkout"),
    ("rename", "mv", "move"),
    ("run", "exec", "execute"),
    ("logs", "log", "tail", "output", "follow"),
    ("set", "update", "change", "edit", "put"),
    ("adopt", "attach", "take"),
)  # fmt: skip


def called_below(word: str, known: Collection[str]) -> str | None:
    """Which of a group's commands another word means; None if it is no such word."""
    word = word.lower().strip("-")
    alike = (name for words in _ALIKE if word in words for name in words)
    return next((name for name in alike if name in known), None)


def near(word: str, known: Collection[str]) -> str | None:
    """The command that a word is a slip of: a letter too much, two that changed places; not one that looks alike."""
    import difflib

    word = word.lower()
    swapped = (name for name in known if sorted(name) == sorted(word))
    return next(swapped, None) or next(iter(difflib.get_close_matches(word, known, n=1, cutoff=NEAR)), None)


def with_arguments(root: click.Context, here: str, given: Sequence[str]) -> str:
    """The command to type here with the arguments that followed another tool's word, if the command takes them."""
    words = here.split()
    if given and (program := re.fullmatch(r'run "(\S+) …"', here)) is not None:
        return shlex.join(["run", program[1], *given])
    if not given or words[0].startswith("-") or any(sign in here for sign in '"=…') or here.endswith(".py"):
        return here
    if words[-1].isupper():  # what the user fills in
        if words[0] == "run" and words[1:2] != ["--attach"]:
            return here
        words.pop()
    if words == ["upload"] and ":" in given[0]:  # from there, as scp has it
        words = ["download"]
    if words == ["run"] and "-f" in given and "-m" not in given:
        words += ["-m", "kernel"]
    return shlex.join([*words, *given]) if _takes(root, [*words, *given]) else here


def _takes(context: click.Context, words: Sequence[str]) -> bool:
    """Whether a command line has no options and no arguments but those that its command knows. Nothing is done."""
    import click

    from .parse import split_run

    command, left = context.command, list(words)
    while isinstance(command, click.Group) and left and not left[0].startswith("-"):
        inner = command.get_command(context, left[0])
        if inner is None:
            return False
        context, command = click.Context(inner, parent=context, info_name=left.pop(0)), inner
    try:
        known, left, _ = command.make_parser(context).parse_args(split_run(left).ours if words[0] == "run" else left)
    except click.UsageError:
        return False
    needed = [
        known.get(item.name or "") for item in command.params if isinstance(item, click.Argument) and item.required
    ]
    # One that is missing has a value of click's own.
    return not left and all(isinstance(value, (str, tuple, list)) and value for value in needed)


def called_here(word: str) -> str | None:
    """What a command of another tool is called here, with the words that follow it; None if it is no such word."""
    return OTHER_WORDS.get(word.lower().strip("-"))


def phrase_here(words: Sequence[str]) -> str | None:
    """The same for two words that are a command together."""
    return _PHRASES.get(" ".join(words[:2]).lower())


def without_run(words: Sequence[str]) -> list[str] | None:
    """What is to be executed there, if words that are no command of ours are probably that: the words of a command
    that executes them; None if they are not."""
    whole = words[0].strip()
    if re.search(r"\w\(|^(?:import|from)\s|\w\s*=\s*\S", whole):
        return ["run", "-m", "kernel", *words]
    return ["run", *words] if re.search(r"\s", whole) else None
