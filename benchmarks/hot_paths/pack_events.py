"""Stripe's `checkout.session.completed` of promised packs: verified, stored, and applied in batches as the drain does.

The events are those of the sandbox. Nothing is fetched from Stripe: without a secret key the signed payload is applied.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from functools import partial
from typing import Any

import orjson

from benchmarks.customers import APP, customer
from benchmarks.databases import Database
from benchmarks.hot_paths.cpu import Piece
from jobs.inbox import events
from jobs.providers.stripe import signature
from models import database
from models.catalog import catalog
from sandbox import signing
from sandbox.control import purchases
from settings import SANDBOX_WEBHOOK_SECRET

PACK = "starter"
WARM_UP = 50

PROMISE = """
INSERT INTO checkout (app, external_id, customer, content, pack, quantity, units, price_minor, currency, refundable,
                      title, success_url, cancel_url, provider, provider_id, url, state, created_at, updated_at)
SELECT %(app)s, id, customer, '{}', %(pack)s, 1, %(units)s, %(price_minor)s, %(currency)s, true,
       %(pack)s, 'https://app.example/', 'https://app.example/', 'stripe', session, 'https://pay.example/', 'open',
       %(now)s, %(now)s
FROM unnest(%(ids)s::text[], %(customers)s::text[], %(sessions)s::text[]) AS promised(id, customer, session)
"""
NOT_APPLIED = """
SELECT count(*) FROM inbox_event e
LEFT JOIN checkout c ON c.app = e.app AND c.external_id = e.payload::jsonb #>> '{data,object,metadata,checkout}'
LEFT JOIN payment p ON p.id = c.payment_id LEFT JOIN entry n ON n.id = p.entry_id
WHERE e.state <> 'done' OR c.state IS DISTINCT FROM 'paid' OR n.amount IS DISTINCT FROM c.units
"""


def pieces(database_url: str, count: int, accounts: int, *, batch: int = events.BATCH) -> Iterator[Piece]:
    """Batches of events, `count` in all; a piece does not include creating and signing them."""
    _receive_and_apply(_signed_events(min(count, WARM_UP), accounts))
    signed = _signed_events(count, accounts)
    for first in range(0, count, batch):
        yield partial(_receive_and_apply, signed[first : first + batch])
    not_applied = Database(database_url).value(NOT_APPLIED)
    assert not_applied == 0, f"{not_applied} events were not applied"


def _receive_and_apply(batch: Sequence[tuple[bytes, str]]) -> int:
    now = datetime.now(timezone.utc)
    for raw, header in batch:
        event = signature.verify(raw, header, [SANDBOX_WEBHOOK_SECRET], now)
        stored = events.receive(APP, "stripe", event["id"], event["type"], raw.decode(), now=now)
        assert stored, "an event was not stored"
    assert events.apply_pending(now=now) == len(batch), "an event was not tried"
    return len(batch)


def _signed_events(count: int, accounts: int) -> list[tuple[bytes, str]]:
    """Bodies and signatures of paid sessions, whose checkouts are stored."""
    app = catalog.current()[APP]
    made = [purchases.paid_checkout(app, customer(random.randrange(accounts)), PACK) for _ in range(count)]
    for event in made:
        session = event["data"]["object"]
        session["metadata"]["checkout"] = f"checkout-{session['id']}"
    _promise([event["data"]["object"] for event in made])
    bodies = [orjson.dumps(event) for event in made]
    return [(raw, signing.stripe_headers(raw, SANDBOX_WEBHOOK_SECRET)["Stripe-Signature"]) for raw in bodies]


def _promise(sessions: Sequence[dict[str, Any]]) -> None:
    """Store the checkouts of these sessions as they are before they are paid."""
    pack = catalog.current()[APP].packs[PACK]
    database.write(
        PROMISE,
        {
            "app": APP,
            "pack": PACK,
            "units": pack.units,
            "price_minor": pack.price_minor,
            "currency": pack.currency,
            "now": datetime.now(timezone.utc),
            "ids": [session["metadata"]["checkout"] for session in sessions],
            "customers": [session["client_reference_id"] for session in sessions],
            "sessions": [session["id"] for session in sessions],
        },
    )
