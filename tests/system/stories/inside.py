"""A Scrip inside this process: the same application, jobs and provider as `running.Running` has in processes of theirs.

Requests and the provider's events come in by Flask's test client. Nothing is done unasked: `work` does what is due, so
that nobody waits for a thread or a process to look.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from flask import Flask

from jobs import maintenance, schedule
from jobs.inbox import events
from models import clock
from models.catalog import catalog
from models.operations import schedule as recorded
from sandbox import address, ticking
from sandbox.context import Sandbox
from sandbox.delivery import Sender
from sandbox.server import serving
from scheduler.schedule import SCHEDULE
from settings import settings
from tests.support import emptied
from tests.support.folders import data_folder
from tests.support.scrip_api import Scrip
from tests.system.stories.shared_scrip import write_catalog

RECEIVER = "http://scrip.inside"


class Answer:
    """A response of the test client with the names that `requests` has for its parts."""

    def __init__(self, response: Any) -> None:
        self.status_code: int = response.status_code
        self.headers = response.headers
        self.text: str = response.get_data(as_text=True)
        self.json = response.get_json


class Inside(Scrip):
    """One instance, on the database of the tests. `app` is its web application."""

    def __init__(self, app: Flask, sandbox: Sandbox, folder: Path) -> None:
        self.client, self.sandbox, self.folder = app.test_client(), sandbox, folder

    def call(self, method: str, path: str, body: Any = None, *, app: str = "ai-services", **options: Any) -> Answer:
        """The answer to one API request with the app's sandbox key."""
        headers = {"Authorization": f"Bearer sk_sandbox_{app}", **options.pop("headers", {})}
        return Answer(self.client.open(path, method=method, json=body, headers=headers, **options))

    def send_event(self, path: str, raw: bytes, headers: dict[str, str], patience_seconds: float) -> int:
        """Send an event to a receiver; returns the status."""
        return self.client.post(path, data=raw, headers=headers).status_code

    def is_clean(self) -> bool:
        """Whether the check of the books, which is what `manage.py verify` runs, finds nothing."""
        checks = maintenance.check_books(now=clock.now())
        assert [check for check in checks if not check.ok] == []
        return True

    def sandbox_url(self) -> str:
        """Where its payment provider is."""
        return self.sandbox.url

    def work(self) -> None:
        """What becomes due at the provider, then its events, then the schedule, until nothing is left."""
        while self._step():
            pass

    def _step(self) -> int:
        done = ticking.tick(self.sandbox) + self.sandbox.sender.send_due()
        done += events.apply_pending(now=clock.now())
        recorded.record(SCHEDULE, now=clock.now())
        return done + schedule.run_due(now=clock.now())


# Makes one with the named apps of the stories.
Insides = Callable[..., AbstractContextManager[Inside]]


class _Sender(Sender):
    """The provider's, without its thread and without HTTP."""

    app: Flask

    def start(self) -> None:
        """Only `work` sends."""

    def stop(self) -> None:
        """There is no thread to end."""

    def _send(self, url: str, provider: str, body: bytes) -> tuple[bool, str]:
        headers = {"Content-Type": "application/json", **self.signers[provider](body)}
        answer = self.app.test_client().post(url.removeprefix(RECEIVER), data=body, headers=headers)
        return answer.status_code < 400, f"{answer.status_code} {answer.get_data(as_text=True)}"


class _Ticker(ticking.Ticker):
    """The provider's clock, which only `work` looks at."""

    def start(self) -> None:
        """There is no thread to begin."""

    def stop(self) -> None:
        """There is no thread to end."""


@contextmanager
def stories_inside(app: Flask, *names: str) -> Iterator[Inside]:
    """One with these apps of the stories, for the time of the block."""
    with data_folder() as folder:
        write_catalog(folder, *names)
        with running_inside(app, folder) as instance:
            yield instance


@contextmanager
def running_inside(app: Flask, catalog_dir: Path) -> Iterator[Inside]:
    """One on an empty database, with a catalog of its own, for the time of the block."""
    with data_folder() as folder:
        mine = replace(settings, data_dir=folder, catalog_dir=catalog_dir, sandbox_port=None)
        sandbox = Sandbox(mine, address.choose_url(mine), RECEIVER)
        sandbox.sender = _Sender(sandbox.store, RECEIVER, sandbox.paypal_headers)
        sandbox.sender.app = app
        with (
            _settings(data_dir=folder, catalog_dir=catalog_dir, sandbox_url=sandbox.url),
            serving(sandbox, _Ticker(sandbox), poll_seconds=0.01),
        ):
            emptied.empty()
            catalog.use(None)
            yield Inside(app, sandbox, folder)
        catalog.use(None)


@contextmanager
def _settings(**changed: Any) -> Iterator[None]:
    """Other settings for all modules of this process, for the time of the block."""
    before = {name: getattr(settings, name) for name in changed}
    for name, value in changed.items():
        object.__setattr__(settings, name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            object.__setattr__(settings, name, value)
