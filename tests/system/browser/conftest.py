"""A Chromium for the browser tests: an installed one, else Playwright's own, else the system's package as root.

Where none can be had the tests say so; with CI=true that is a failure.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

INSTALLED = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
DOWNLOAD = [sys.executable, "-m", "playwright", "install", "chromium"]
PACKAGE = [["apt-get", "update", "-q"], ["apt-get", "install", "-y", "-q", "--no-install-recommends", "chromium"]]
INSTALL_SECONDS = 600
# Where a Debian keeps its programs, whatever a bare PATH says: packages are installed by means of some of them.
PLACES = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/snap/bin"
MISSING = "BROWSER TESTS DID NOT RUN: there is no Chromium, and none could be installed (apt-get install chromium)"


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of a Chromium that starts. One process at a time looks, for it may have to install one."""
    with open(Path(tempfile.gettempdir()) / "scrip-chromium.lock", "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = next(_candidates(), None)
    if found is None:
        pytest.fail(MISSING) if os.environ.get("CI") == "true" else pytest.skip(MISSING)
    return found


def _candidates() -> Iterator[str]:
    """Those that start; what is installed comes first, each further step is tried only if it is needed."""
    yield from filter(_starts, _installed())
    yield from filter(_starts, _downloaded())
    if _runs(DOWNLOAD):
        yield from filter(_starts, _downloaded())
    if os.geteuid() == 0 and shutil.which("apt-get", path=_path()) and all(_runs(command) for command in PACKAGE):
        yield from filter(_starts, _installed())


def _installed() -> list[str]:
    return [path for name in INSTALLED if (path := shutil.which(name, path=_path()))]


def _path() -> str:
    return os.pathsep.join(filter(None, (os.environ.get("PATH"), PLACES)))


def _downloaded() -> list[str]:
    """Playwright's own, if it has been downloaded. Asked in a process of its own: this one may have a loop."""
    program = "from playwright.sync_api import sync_playwright as s\nwith s() as p: print(p.chromium.executable_path)"
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60).stdout.strip()
    return [told] if told and Path(told).exists() else []


def _starts(path: str) -> bool:
    return _runs([path, "--headless", "--no-sandbox", "--version"])


def _runs(command: list[str]) -> bool:
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "PATH": _path()}
    try:
        return subprocess.run(command, env=env, capture_output=True, timeout=INSTALL_SECONDS).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args: dict[str, Any], chromium: str) -> dict[str, Any]:
    """What pytest-playwright starts. Chromium's own sandbox does not work for root, nor in most containers."""
    return {
        **browser_type_launch_args,
        "executable_path": chromium,
        "args": ["--no-sandbox", "--disable-dev-shm-usage"],
    }
