"""What has this system call `lecoder-cgpu keeper tick` every minute: a timer of systemd, an agent of launchd, a task of
Windows, or a line for cron. Pure: it is printed, and the person puts it where it belongs."""

from __future__ import annotations

import plistlib
import shlex
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath, PureWindowsPath
from typing import get_args
from xml.sax.saxutils import escape

from ..models.keeper import Scheduler

NAME = "lecoder-cgpu-keeper"
EVERY = 60  # seconds

KINDS: tuple[Scheduler, ...] = get_args(Scheduler)


def kind_of(platform: str, *, systemd: bool) -> Scheduler:
    """What a system has.

    Args:
        platform: as `sys.platform` names it. systemd: whether systemd runs there.
    """
    if platform == "win32":
        return "windows"
    if platform == "darwin":
        return "launchd"
    return "systemd" if systemd else "cron"


def text(kind: Scheduler, command: Sequence[str], variables: Mapping[str, str], home: str) -> str:
    """What is printed: the file or line, where it belongs, and what logging out does to it.

    Args:
        command: the words of the call. variables: which it needs in its environment. home: the folder of the user.
    """
    return {"systemd": _systemd, "cron": _cron, "launchd": _launchd, "windows": _windows}[kind](
        command, variables, home
    )


def _systemd(command: Sequence[str], variables: Mapping[str, str], home: str) -> str:
    folder = PurePosixPath(home) / ".config/systemd/user"
    environment = "".join(f"Environment={_unit_word(f'{name}={value}')}\n" for name, value in variables.items())
    return f"""# {folder}/{NAME}.service
[Unit]
Description=One round of lecoder-cgpu's keeper

[Service]
Type=oneshot
{environment}ExecStart={" ".join(_unit_word(word).replace("$", "$$") for word in command)}

# {folder}/{NAME}.timer
[Unit]
Description=Rounds of lecoder-cgpu's keeper

[Timer]
OnBootSec={EVERY}
OnUnitInactiveSec={EVERY}

[Install]
WantedBy=timers.target

# Start it:          systemctl --user daemon-reload && systemctl --user enable --now {NAME}.timer
# When you log out, it ends, unless your account lingers:   loginctl enable-linger
# Remove it:         systemctl --user disable --now {NAME}.timer
"""


def _unit_word(word: str) -> str:
    """A word of a unit file: quoted, with what systemd replaces everywhere written twice. In commands, $ is, too."""
    return '"' + word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%") + '"'


def _cron(command: Sequence[str], variables: Mapping[str, str], home: str) -> str:
    words = " ".join([*(f"{name}={shlex.quote(value)}" for name, value in variables.items()), shlex.join(command)])
    line = words.replace("%", "\\%")
    return f"""# Add this line with `crontab -e`, and delete it there to remove it.
* * * * * {line} >/dev/null 2>&1
# It goes on when you log out.
"""


def _launchd(command: Sequence[str], variables: Mapping[str, str], home: str) -> str:
    path = PurePosixPath(home) / f"Library/LaunchAgents/{NAME}.plist"
    agent = {
        "Label": NAME,
        "ProgramArguments": list(command),
        "EnvironmentVariables": dict(variables),
        "StartInterval": EVERY,
        "RunAtLoad": True,
    }
    return f"""{plistlib.dumps(agent).decode()}<!-- {path}
Start it:    launchctl bootstrap gui/$UID {shlex.quote(str(path))}
When you log out, it ends; it begins again when you log in.
Remove it:   launchctl bootout gui/$UID/{NAME}
-->
"""


def _windows(command: Sequence[str], variables: Mapping[str, str], home: str) -> str:
    path = PureWindowsPath(home) / f"{NAME}.xml"
    program, *words = command
    shell = "".join(f'set "{name}={value}" && ' for name, value in variables.items())
    call = f'/d /c "{shell}"{program}" {" ".join(_windows_word(word) for word in words)}"'
    return f"""<!-- Save this as {path}, then
Start it:    schtasks /Create /TN {NAME} /XML "{path}"
It runs while you are logged in.
Remove it:   schtasks /Delete /TN {NAME} -->
<Task version="1.2" xmlns="http://schemas.microsoft.com/windows/2004/02/mit/task">
  <Triggers>
    <TimeTrigger>
      <StartBoundary>2020-01-01T00:00:00</StartBoundary>
      <Repetition><Interval>PT{EVERY}S</Interval></Repetition>
    </TimeTrigger>
  </Triggers>
  <Settings>
    <MultipleInstancesPolicy>IgnoreNew</MultipleInstancesPolicy>
    <DisallowStartIfOnBatteries>false</DisallowStartIfOnBatteries>
    <Hidden>true</Hidden>
  </Settings>
  <Actions>
    <Exec>
      <Command>cmd.exe</Command>
      <Arguments>{escape(call)}</Arguments>
    </Exec>
  </Actions>
</Task>
"""


def _windows_word(word: str) -> str:
    return f'"{word}"' if not word or set(word) & set(" \t&<>|^()") else word
