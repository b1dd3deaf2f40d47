"""The configuration of the tests' JupyterHub: real, on loopback, with local servers, any user, and its idle culler."""

import asyncio
import os
import sys
from typing import Any

from traitlets.config import get_config

folder, port, token = (os.environ[name] for name in ("HUB_FOLDER", "HUB_PORT", "HUB_TOKEN"))
PROFILES = ("small", "a100", "slow")

c = get_config()
c.JupyterHub.bind_url = f"http://127.0.0.1:{port}/base/"
c.JupyterHub.hub_bind_url = f"http://127.0.0.1:{os.environ['HUB_INTERNAL_PORT']}"
c.ConfigurableHTTPProxy.api_url = f"http://127.0.0.1:{os.environ['HUB_PROXY_PORT']}"
c.JupyterHub.db_url = f"sqlite:///{folder}/hub.sqlite"
c.JupyterHub.cookie_secret_file = f"{folder}/cookie"
c.ConfigurableHTTPProxy.pid_file = f"{folder}/proxy.pid"
c.JupyterHub.spawner_class = "simple"
c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allow_all = True
c.JupyterHub.allow_named_servers = True
c.JupyterHub.cleanup_servers = True
c.JupyterHub.tornado_settings = {"slow_spawn_timeout": 0}
c.SimpleLocalProcessSpawner.home_dir_template = f"{folder}/{{username}}"
c.Spawner.args = ["--allow-root", "--ServerApp.jpserver_extensions={}"]
c.Spawner.start_timeout = c.Spawner.http_timeout = 120
c.Spawner.environment = {"LECODER_CGPU_RESIDENT_HOME": f"{folder}/resident", "JUPYTERHUB_ACTIVITY_INTERVAL": "1"}
c.JupyterHub.activity_resolution = 1
c.JupyterHub.load_roles = [
    {
        "name": "tests",
        "services": ["tests"],
        "scopes": ["admin:users", "admin:servers", "tokens", "access:servers", "users:activity"],
    },
    {
        "name": "culler",
        "services": ["culler"],
        "scopes": ["list:users", "read:users:activity", "read:servers", "delete:servers"],
    },
]
culler = ["-m", "jupyterhub_idle_culler", f"--timeout={os.environ['HUB_CULL']}", "--cull-every=2"]
c.JupyterHub.services = [
    {"name": "tests", "api_token": token},
    {"name": "culler", "command": [sys.executable, *culler]},
]


async def check_profile(spawner: Any) -> None:
    """What a spawner with profiles does: it refuses those that it does not have, and may take long."""
    profile = spawner.user_options.get("profile")
    if profile is not None and profile not in PROFILES:
        raise ValueError(f"No such profile: {profile}. Options include: {', '.join(PROFILES)}")
    spawner.environment["PROFILE"] = profile or ""
    if profile == "slow":
        await asyncio.sleep(20)


c.Spawner.pre_spawn_hook = check_profile
