"""The application: every route of the table, and the answers to what no route knows."""

from __future__ import annotations

import flask
from flask import Flask, Response, request
from werkzeug.exceptions import NotFound

from models.errors import Invalid
from web import api, inbox, ops
from web.http import documentation, problems
from web.http.auth import Auth
from web.http.bodies import MOST_BODY_BYTES
from web.http.fields import NAME_RULE
from web.http.routes import Route, register
from workers import main as actors


def create_app() -> Flask:
    """The WSGI application. The database must be bound before the first request (web/wsgi.py)."""
    assert actors.broker, "a ring goes to an actor that is known"
    app = Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MOST_BODY_BYTES
    # A client's id may begin with a slash once it is decoded: that is a 422, not a redirect to another id.
    app.url_map.merge_slashes = False
    app.register_error_handler(Exception, problems.answer)
    app.register_error_handler(404, _no_such_path)
    auth = Auth()
    for route in routes():
        register(app, route, auth)
    documentation.register(app, routes())
    return app


def routes() -> list[Route]:
    """The whole table, in the order of the documentation."""
    nouns = (inbox, *api.nouns(), ops)
    return [route for noun in nouns for route in noun.routes.table]


def _no_such_path(error: NotFound) -> Response:
    """An escaped slash in an id splits the path in two before any route sees it."""
    asked: flask.Request = request
    uri = str(asked.environ.get("RAW_URI") or asked.environ.get("REQUEST_URI") or "")
    if "%2f" in uri.partition("?")[0].lower():
        return problems.answer(Invalid([("path", f"an id {NAME_RULE}")]))
    return problems.answer(error)
