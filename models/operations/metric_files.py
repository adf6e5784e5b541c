"""Where the processes of a node count together: prometheus_client's files, a set a process."""

from __future__ import annotations

import os
import re
from pathlib import Path

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
_FILE = re.compile(r"[a-z_]+_(\d+)\.db")


def share(directory: Path) -> None:
    """Count in `directory` from now on, unless the environment names another.

    A process that is started again finds the counts of its dead forerunner, so totals only rise while the service
    runs. When no process that counted is alive, all begins anew.
    """
    place = Path(os.environ.setdefault(VARIABLE, str(directory)))
    place.mkdir(parents=True, exist_ok=True)
    owners = {file: int(match[1]) for file in place.iterdir() if (match := _FILE.fullmatch(file.name))}
    if not any(map(_alive, owners.values())):
        for file in owners:
            file.unlink(missing_ok=True)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True
