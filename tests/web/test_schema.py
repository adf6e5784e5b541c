"""What the OpenAPI document promises, tried by machine: no request that it allows, or nearly allows, gets a 500, nor an
answer that the document does not describe.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import orjson
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from jobs.inbox import events
from jobs.payments import checkouts
from models import clock, database
from models.catalog import catalog
from tests.support.cast import ADA, BO, deliver
from tests.support.deep import times
from tests.support.providers.sandboxes import Provider
from tests.support.providers.shop import PAGES, change, open_shop, order
from tests.support.providers.stripe_events import event, paid_session
from tests.support.web_calls import bearer, send, signature
from web.app import create_app

APPLICATION = create_app()
SCHEMA = schemathesis.openapi.from_wsgi("/openapi.json", APPLICATION)
# One with rates and one with sessions: between them every request of the document can succeed.
APPS = ["ai-services", "echomind"]
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
# A machine that makes requests up cannot sign one, and the provider knows no payment that only an event told of.
NEVER_SUCCEEDS = {
    "POST /v1/payments/{id}/refund",
    "POST /webhooks/paypal/{app}",
    "POST /webhooks/stripe/{app}",
}
# The examples' entry, a deduction: the one after the gift.
FIRST_ENTRY = 42
succeeded: set[str] = set()
tried: set[str] = set()


@pytest.fixture(scope="module", autouse=True)
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provider]:
    """Where checkouts lead to."""
    with open_shop(tmp_path_factory.mktemp("provider")) as running:
        yield running


@pytest.fixture(scope="module", autouse=True)
def everything_succeeds_once() -> Iterator[None]:
    """Answers of success are checked against their shapes, and so they must have been there."""
    yield
    paths = SCHEMA.raw_schema["paths"]
    every = {f"{method.upper()} {path}" for path, methods in paths.items() for method in methods}
    if tried >= every:
        assert every - succeeded == NEVER_SUCCEEDS


@pytest.fixture(autouse=True)
def something_of_everything(db: str, request: pytest.FixtureRequest, provider: Provider) -> Iterator[None]:
    """What the examples of the document name: a customer who has, holds and did things."""
    client = APPLICATION.test_client()
    if "/v1/subscriptions/" in request.node.name:
        _subscribe(provider, is_to_end="/resume" in request.node.name)
    database.connection().execute(f"SELECT setval('entry_id_seq', {FIRST_ENTRY - 2})")
    for app in APPS:
        _fill(client, app, waits="/cancel" in request.node.name)
    yield
    database.release()


def _fill(client: Any, app: str, waits: bool) -> None:
    key = bearer(f"sk_sandbox_{app}")

    def post(path: str, body: dict[str, Any]) -> Any:
        return send(client, path, body, key=key).json

    post("/v1/endpoints", {"id": "main", "url": "http://127.0.0.1:9/hooks"})
    post("/v1/adjustments", {"id": "gift", "customer": ADA, "units": 500, "reason": "welcome"})
    post("/v1/charges", {"id": "charge-0", "customer": ADA, "units": 3})
    post("/v1/charges", {"id": "charge-1", "customer": BO, "units": 3})
    post("/v1/holds", {"id": "hold-1", "customer": ADA, "units": 10, "expires_in": 600})
    post("/v1/usage", {"id": "call-1", "customer": ADA, "rate": "voice_call", "quantity": 1})
    if waits:
        post("/v1/sessions", {"id": "session-0", "customer": ADA})
        post("/v1/sessions/session-0/end", {})
    post("/v1/sessions", {"id": "session-1", "customer": ADA, "wait": True})
    post("/v1/checkout", {"id": "checkout-1", "customer": ADA, "pack": _pack(app), **PAGES})
    _pay(client, app)
    if app == "ai-services":
        database.connection().execute("UPDATE usage_report SET state = 'refused'; DELETE FROM usage_queue")
        database.connection().execute("UPDATE outbox_delivery SET state = 'failed'")


def _subscribe(provider: Provider, *, is_to_end: bool) -> None:
    """A subscription of the first app, which gets a plan for it; of its reports only the first one comes."""
    app, now = APPS[0], clock.now()
    change(app, plans=catalog.current()["songs"].plans)
    answer, _ = checkouts.start(catalog.current()[app], order(plan="pro"), now=now)
    assert provider.pay(answer["url"].rpartition("/")[2]).status_code < 400
    v1 = provider.stripe(app).v1
    created = v1.events.list({"type": "customer.subscription.created", "limit": 1}).data[0]
    if is_to_end:
        v1.subscriptions.update(created.data.object.id, {"cancel_at_period_end": True})
    deliver(app, created.to_dict(for_json=True), now=now)


def _pay(client: Any, app: str) -> None:
    raw = orjson.dumps(event("checkout.session.completed", paid_session(app, ADA, _pack(app)), created=clock.now()))
    client.post(f"/webhooks/stripe/{app}", data=raw, headers={"Stripe-Signature": signature(raw)})
    events.apply_pending(now=clock.now() + timedelta(seconds=1))


def _pack(app: str) -> str:
    return "starter" if app == "ai-services" else "session"


@pytest.mark.parametrize("app", APPS)
@SCHEMA.parametrize()
@pytest.mark.deep
@settings(max_examples=times(20, 10), deadline=None, suppress_health_check=list(HealthCheck))
def test_nothing_undeclared_is_answered(case: Any, app: str) -> None:
    response = case.call_and_validate(headers=bearer(f"sk_sandbox_{app}"), checks=CHECKS)
    named = f"{case.method} {case.path}"
    tried.add(named)
    if response.status_code < 300:
        succeeded.add(named)
