"""Where the tests keep the data of embedded servers: in memory if there is room, for a shared disk is slow."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MEMORY = "/dev/shm"
ROOM_BYTES = 4_000_000_000


@contextmanager
def data_folder() -> Iterator[Path]:
    """An empty folder for the time of the block.

    It is not one of pytest's own: each start of pytest shuts the folder above those to all others, and so to the
    account that servers run as when root runs the tests.
    """
    with tempfile.TemporaryDirectory(prefix="scrip-test-", dir=_place()) as folder:
        yield Path(folder)


def _place() -> str | None:
    roomy = os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > ROOM_BYTES
    return MEMORY if roomy else None
