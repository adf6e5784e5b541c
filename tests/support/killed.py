"""A process of ours that is killed at a named point, with what it leaves behind in PostgreSQL."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

from models import database
from settings import ROOT
from tests.support.waiting import wait_until

OF_OTHERS = """
SELECT 1 FROM pg_stat_activity
WHERE datname = current_database() AND backend_type = 'client backend' AND application_name <> 'tests'
"""


def killed_at(point: str, *arguments: str) -> None:
    """Run Python with these arguments until the point kills it, and wait until its transaction is gone: PostgreSQL has
    to notice the death first, and what was locked until then is passed over.
    """
    database.release()
    env = {**os.environ, "SCRIP_CRASH_AT": point}
    killed = subprocess.run([sys.executable, *arguments], cwd=ROOT, env=env, capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    wait_until(lambda: not database.read(OF_OTHERS))
