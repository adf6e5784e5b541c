"""The directory of prometheus_client's files, in which the processes of a node count: one set of files per process."""

from __future__ import annotations

import os
import re
from pathlib import Path

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
_FILE = re.compile(r"[a-z_]+_(\d+)\.db")


def share(directory: Path) -> None:
    """Count in `directory`, unless the environment names another one.

    Files of dead processes are kept while any process that counts is alive, so that totals never fall while the
    service runs. If none is alive, the files are deleted and all counters start at 0.
    """
    path = Path(os.environ.setdefault(VARIABLE, str(directory)))
    path.mkdir(parents=True, exist_ok=True)
    owners = {file: int(match[1]) for file in path.iterdir() if (match := _FILE.fullmatch(file.name))}
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
