"""What the tests stand on: a real PostgreSQL and Redis-protocol server of their own, one pair a test process."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import shared
from tests.support.folders import data_folder

if TYPE_CHECKING:
    from flask import Flask
    from flask.testing import FlaskClient

    from tests.support.running import Running
    from tests.system.stories.inside import Insides
    from web.http.auth import Auth

SERVERS = ExitStack()
NOW = datetime(2026, 3, 10, 12, 0, tzinfo=timezone.utc)


def pytest_configure(config: pytest.Config) -> None:
    """Start the servers before test modules are imported: some modules read the settings when they load."""
    if _is_controller(config):
        os.environ[shared.NOTE] = str(SERVERS.enter_context(data_folder()) / "groups")
    if config.option.collectonly or _is_controller(config):
        return
    import settings
    from runtime import embedded

    for name in (
        "DATABASE_URL",
        "REDIS_URL",
        "SCRIP_CATALOG_DIR",
        "STRIPE_SECRET_KEY",
        "STRIPE_WEBHOOK_SECRET",
        "HOST",
    ):
        os.environ.pop(name, None)
    folder = SERVERS.enter_context(data_folder())
    os.environ.update(SCRIP_DATA_DIR=str(folder), SCRIP_SANDBOX="1", SCRIP_DEMO="0", SCRIP_LOG_LEVEL="error")
    mine = settings.load(os.environ)
    embedded.export(mine, SERVERS.enter_context(embedded.ensure(mine)))
    _prepare()


def _is_controller(config: pytest.Config) -> bool:
    """Whether this process only hands tests out to others."""
    return bool(getattr(config.option, "numprocesses", 0)) and not hasattr(config, "workerinput")


def _prepare() -> None:
    from models import database, schema
    from settings import settings

    assert settings.database_url
    database.bind(settings.database_url, max_connections=64, application_name="tests")
    schema.migrate()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Bring the tests into the order that test processes take them in."""
    shared.arrange(items)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give the tests that share something to one test process."""
    return shared.Scheduler(config, log)


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Stop a running Scrip after the last test that uses it."""
    shared.stop_unless_used(nextitem)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop the servers and leave nothing behind."""
    if "models.database" in __import__("sys").modules:
        from models import database

        if not database.database.deferred:
            database.database.close_all()
    SERVERS.close()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """A browser that is missing is said where nobody misses it."""
    skipped = [str(report.longrepr) for report in terminalreporter.stats.get("skipped", [])]
    if any("BROWSER TESTS DID NOT RUN" in reason for reason in skipped):
        terminalreporter.write_line(
            "BROWSER TESTS DID NOT RUN: there is no Chromium on this machine", red=True, bold=True
        )


@pytest.fixture
def db() -> Iterator[str]:
    """An empty database, bound to `models.database`; yields its URL."""
    from models.catalog import catalog
    from settings import settings
    from tests.support import emptied

    emptied.empty()
    catalog.use(None)
    (settings.data_dir / "clock").unlink(missing_ok=True)
    assert settings.database_url
    yield settings.database_url
    catalog.use(None)


@pytest.fixture
def now() -> datetime:
    """A fixed moment for what takes its time as an argument."""
    return NOW


@pytest.fixture(scope="session")
def application() -> tuple[Flask, Auth]:
    """The whole web application, made once: its routes take a hundred times as long as a request."""
    from web import app

    auth = app.Auth()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(app, "Auth", lambda: auth)
        return app.create_app(), auth


@pytest.fixture(scope="module")
def inside(application: tuple[Flask, Auth]) -> Insides:
    """Makes a Scrip in this process that has the named apps of the stories: `with inside("packs") as scrip`."""
    from tests.system.stories.inside import stories_inside

    app, auth = application
    vars(auth).update(vars(type(auth)()))
    return functools.partial(stories_inside, app)


@pytest.fixture
def client(db: str, application: tuple[Flask, Auth]) -> FlaskClient:
    """Flask's test client over the whole web application, in the sandbox, on an empty database; no key is known yet."""
    app, auth = application
    vars(auth).update(vars(type(auth)()))
    return app.test_client()


@pytest.fixture(scope="session")
def system() -> Iterator[Running]:
    """A whole running Scrip, shared by tests that use customers of their own."""
    from tests.support.running import Running

    with shared.keep("system", Running()) as instance:
        yield instance


@pytest.fixture(scope="session")
def stories() -> Iterator[Running]:
    """Another one, with the catalog of the stories, shared by their files."""
    from tests.system.stories.shared_scrip import running_stories

    with running_stories() as instance, shared.keep("stories", instance):
        yield instance


@pytest.fixture(scope="session")
def rough() -> Iterator[Running]:
    """Another one, shared by tests that kill parts of it, stop it, or keep it from working."""
    from tests.support.running import Running

    with shared.keep("rough", Running()) as instance:
        yield instance
