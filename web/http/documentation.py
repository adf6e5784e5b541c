"""/openapi.json and /docs: one document, for programs and for people. The page loads nothing from other hosts."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Sequence
from typing import Any

from flask import Flask, Response, redirect, render_template
from markupsafe import Markup, escape

from web.http import openapi, problems
from web.http.answers import respond
from web.http.routes import Route

POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


def register(app: Flask, routes: Sequence[Route]) -> None:
    """Add the API reference of `routes` to the Flask application."""
    document = functools.cache(lambda: openapi.document(routes))

    def show_document() -> Response:
        return respond(document())

    def show_page() -> Response:
        page = render_template(
            "documentation.html", document=document(), problems=problems.ALL, show=_show, schema_of=_schema_of
        )
        headers = {"Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff"}
        return Response(page, headers=headers, content_type="text/html; charset=utf-8")

    def show_problem(slug: str) -> Any:
        return redirect(f"/docs#problem-{slug}")

    app.add_template_filter(_code, "code")
    app.add_url_rule("/openapi.json", "openapi", show_document)
    app.add_url_rule("/docs", "docs", show_page)
    app.add_url_rule("/problems/<slug>", "problem", show_problem)


def _code(text: str) -> Markup:
    """Text between backticks as `<code>`."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))  # noqa: S704 - escaped before


def _show(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


def _schema_of(document: dict[str, Any], content: dict[str, Any]) -> dict[str, Any]:
    """The schema of a JSON content, with a top-level `$ref` resolved."""
    schema = content.get("application/json", {}).get("schema", {})
    name = schema.get("$ref", "").rpartition("/")[2]
    found = document["components"]["schemas"].get(name, schema)
    return found if isinstance(found, dict) else {}
