"""How thorough the tests are. `make test-deep` sets SCRIP_TEST_DEEP=1 and runs the tests that are marked `deep`."""

from __future__ import annotations

import os

IS_DEEP = os.environ.get("SCRIP_TEST_DEEP") == "1"


def times(count: int, factor: int = 25) -> int:
    """`count`, such as a number of random examples; `factor` times as many in a deep run."""
    return count * factor if IS_DEEP else count
