"""The Flask application: every route of the table, and problem responses for unknown paths."""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType

from flask import Flask, Response, request
from werkzeug.exceptions import NotFound

import workers.main
from models.errors import Invalid
from web import api, inbox, ops
from web.http import documentation, problems
from web.http.auth import Auth
from web.http.bodies import MOST_BODY_BYTES
from web.http.dispatch import register
from web.http.fields import NAME_RULE
from web.http.routes import Route


def create_app() -> Flask:
    """The WSGI application. The database must be bound before the first request (web/asgi.py)."""
    assert workers.main.broker, "wake-ups need the declared actors"
    app = Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MOST_BODY_BYTES
    # A decoded id may begin with a slash, which is a 422 and not a redirect to another id.
    app.url_map.merge_slashes = False
    app.register_error_handler(Exception, problems.answer)
    app.register_error_handler(404, _unknown_path)
    auth = Auth()
    for route in routes():
        register(app, route, auth)
    documentation.register(app, routes())
    return app


def routes() -> list[Route]:
    """All routes, in the order of the API reference."""
    return [route for noun in (inbox, *nouns(), ops) for route in noun.routes.table]


def nouns() -> list[ModuleType]:
    """The modules of web/api, sorted by name."""
    names = sorted(module.name for module in pkgutil.iter_modules(api.__path__))
    return [importlib.import_module(f"{api.__name__}.{name}") for name in names]


def _unknown_path(error: NotFound) -> Response:
    """404, or 422 for an id with an escaped slash: servers decode it, so no route matches the path."""
    uri = str(request.environ.get("RAW_URI") or request.environ.get("REQUEST_URI") or "")
    if "%2f" in uri.partition("?")[0].lower():
        return problems.answer(Invalid([("path", f"an id {NAME_RULE}")]))
    return problems.answer(error)
