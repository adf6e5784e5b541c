"""Runs stories for as long as one likes: `make stories SECONDS=60 SEED=1`. Exits with 1 on a failure."""

from __future__ import annotations

import argparse
import logging
import os
import random
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import structlog

from tests.support.folders import data_folder

if TYPE_CHECKING:
    from tests.plans.stories.runner import Result

EACH_SECONDS = 5


@contextmanager
def servers() -> Iterator[None]:
    """The embedded servers and an empty, migrated database, for the time of the block."""
    for name in ("DATABASE_URL", "REDIS_URL", "STRIPE_SECRET_KEY", "STRIPE_WEBHOOK_SECRET"):
        os.environ.pop(name, None)
    with ExitStack() as stack:
        folder = stack.enter_context(data_folder())
        os.environ.update(SCRIP_DATA_DIR=str(folder), SCRIP_SANDBOX="1", SCRIP_DEMO="0", SCRIP_LOG_LEVEL="error")
        import settings
        from runtime import embedded

        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
        mine = settings.load(os.environ)
        embedded.export(mine, stack.enter_context(embedded.ensure(mine)))
        from models import database, schema

        url = settings.settings.database_url
        assert url
        database.bind(url, max_connections=8, application_name="stories")
        schema.migrate()
        yield
        database.database.close_all()


def main() -> int:
    """Run stories until the time is over; all failures are printed, shortened."""
    parser = argparse.ArgumentParser(prog="stories", description=__doc__)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--orders", type=int, default=24)
    parser.add_argument("--most-failures", type=int, default=1)
    asked = parser.parse_args()
    with servers():
        return run(asked)


def run(asked: argparse.Namespace) -> int:
    """The stories of consecutive seeds."""
    from tests.plans.stories import runner

    result, start, seed = runner.Result(), time.monotonic(), asked.seed
    shown = start
    while time.monotonic() - start < asked.seconds or seed == asked.seed:
        failure = runner.run_story(seed, asked.orders, result)
        if failure:
            print(failure, "\n", flush=True)
        if len(result.failures) >= asked.most_failures:
            break
        if time.monotonic() - shown >= EACH_SECONDS:
            shown = time.monotonic()
            print(_progress(result, seed), flush=True)
        seed += 1
    print(_progress(result, seed), flush=True)
    return 1 if result.failures else 0


def _progress(result: Result, seed: int) -> str:
    return f"{result.stories} stories, {result.orders} orders, {len(result.failures)} failures, seed {seed}"


if __name__ == "__main__":
    sys.exit(main())
