"""A whole Scrip as a user runs it: `manage.py up` with a data folder and a port of its own, spoken to over HTTP."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack
from typing import Any

import psutil
import requests

from settings import ROOT
from tests.support.folders import data_folder
from tests.support.scrip_api import Scrip
from tests.support.waiting import wait_until

PATIENCE_SECONDS = 60.0
STOP_SECONDS = 30.0


class Running(Scrip):
    """One running instance. `env` are settings beyond the port and the data folder."""

    def __init__(self, **env: str) -> None:
        self.stack = ExitStack()
        self.folder = self.stack.enter_context(data_folder())
        self.port = _free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.env = {
            **_clean_environment(),
            "SCRIP_DATA_DIR": str(self.folder),
            "PORT": str(self.port),
            "SCRIP_DEMO": "0",
        }
        self.env.update(env)
        self.http = requests.Session()
        adapter = requests.adapters.HTTPAdapter(pool_maxsize=64)
        self.http.mount("http://", adapter)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> Running:
        """Start it and wait until it is ready."""
        log = self.folder / "up.log"
        with open(log, "ab") as output:
            command = [sys.executable, "manage.py", "up"]
            self.process = subprocess.Popen(command, cwd=ROOT, env=self.env, stdout=output, stderr=output)
        wait_until(self.is_ready, PATIENCE_SECONDS)
        return self

    def is_ready(self) -> bool:
        """Whether GET /readyz says so."""
        assert self.process is not None
        if self.process.poll() is not None:
            raise AssertionError((self.folder / "up.log").read_text())
        try:
            return requests.get(f"{self.url}/readyz", timeout=2).status_code == 200
        except requests.RequestException:
            return False

    def stop(self) -> int:
        """Stop it as Ctrl-C does; returns the exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_SECONDS)

    def close(self) -> None:
        """Stop it if it runs, and remove its data."""
        if self.process is not None and self.process.poll() is None:
            self.stop()
        self.http.close()
        self.stack.close()

    def call(self, method: str, path: str, body: Any = None, *, app: str = "ai-services", **options: Any) -> Any:
        """The answer to one API request with the app's sandbox key, as `requests` gives it."""
        headers = {"Authorization": f"Bearer sk_sandbox_{app}", **options.pop("headers", {})}
        return self.http.request(method, self.url + path, json=body, headers=headers, timeout=60, **options)

    def send_event(self, path: str, raw: bytes, headers: dict[str, str], patience_seconds: float) -> int:
        """Send an event to a receiver; returns the status."""
        return self.http.post(self.url + path, data=raw, headers=headers, timeout=patience_seconds).status_code

    def work(self) -> None:
        """Its processes do what is due by themselves."""

    def manage(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command of manage.py beside it."""
        return subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=120,
        )

    def is_clean(self) -> bool:
        """Whether `manage.py verify` finds nothing."""
        result = self.manage("verify", "--json")
        assert json.loads(result.stdout)["ok"], result.stdout
        return result.returncode == 0

    def processes(self, name: str) -> list[psutil.Process]:
        """Its processes whose command line has `name` in it."""
        assert self.process is not None
        found = []
        for child in psutil.Process(self.process.pid).children(recursive=True):
            try:
                if name in " ".join(child.cmdline()):
                    found.append(child)
            except psutil.NoSuchProcess:
                continue
        return found

    def sandbox_url(self) -> str:
        """Where its payment provider is."""
        return f"http://127.0.0.1:{(self.folder / 'run' / 'sandbox-port').read_text()}"

    def redis_url(self) -> str:
        """Where its doorbell is."""
        return self._server("redis_url")

    def database_url(self) -> str:
        """Where its database is."""
        return self._server("database_url")

    def _server(self, name: str) -> str:
        servers = json.loads((self.folder / "run" / "servers.json").read_text())
        return str(servers["urls"][name] if "urls" in servers else servers[name])


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _clean_environment() -> dict[str, str]:
    """Our environment without the settings of the tests' own servers."""
    names = ("DATABASE_URL", "REDIS_URL", "HOST", "PORT")
    return {name: value for name, value in os.environ.items() if name not in names and not name.startswith("SCRIP_")}
