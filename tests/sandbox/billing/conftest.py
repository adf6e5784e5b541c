"""A running sandbox and Stripe's client on it, for the tests of what it bills."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.support.providers.sandboxes import Provider


@pytest.fixture
def provider(db: str) -> Iterator[Provider]:
    # Imported late: pytest reads this file before the tests' settings are made.
    from tests.support.folders import data_folder
    from tests.support.providers.sandboxes import running_provider

    with data_folder() as folder, running_provider(folder) as running:
        yield running


@pytest.fixture
def v1(provider: Provider) -> Any:
    return provider.stripe("songs", max_network_retries=0).v1
