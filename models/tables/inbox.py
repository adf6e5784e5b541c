"""Incoming webhooks of payment providers, and what workers are processing."""

from __future__ import annotations

from peewee import BigIntegerField, BlobField, BooleanField, Check, CompositeKey, IntegerField, TextField

from models.tables.base import (
    ArrayField,
    AssignedIdField,
    Base,
    CustomerField,
    IdentifierField,
    IdField,
    TimeField,
    default,
    index,
    unique,
)


class InboxEvent(Base):
    """A provider's event, stored as received before it is acknowledged. `waits_for`: an object that it depends on."""

    id = IdField()
    app = IdentifierField()
    provider = IdentifierField()
    event_id = IdentifierField()
    type = IdentifierField()
    payload = TextField()
    state = TextField(
        constraints=[default("'pending'"), Check("state IN ('pending', 'done', 'ignored', 'dead')")],
    )
    attempts = IntegerField(constraints=[default("0")])
    excused = IntegerField(constraints=[default("0")])
    next_attempt_at = TimeField()
    solo = BooleanField(constraints=[default("false")])
    error = TextField(null=True)
    waits_for = IdentifierField(null=True)
    customer = CustomerField(null=True)
    received_at = TimeField()
    processed_at = TimeField(null=True)

    class Meta:
        table_name = "inbox_event"
        constraints = [unique("app, provider, event_id")]
        indexes = [
            index("inbox_event_pending ON inbox_event (id) WHERE state = 'pending'"),
            index("inbox_event_dead ON inbox_event (id) WHERE state = 'dead'"),
            index(
                "inbox_event_waiting ON inbox_event (app, provider, waits_for)"
                " WHERE state IN ('pending', 'dead') AND waits_for IS NOT NULL"
            ),
        ]


class DrainMarker(Base):
    """The rows of a queue that one worker is processing, so that a crash can be attributed to them."""

    id = AssignedIdField()
    queue = TextField()
    ids = ArrayField(BigIntegerField)
    backend_pid = IntegerField(constraints=[default("pg_backend_pid()")])
    backend_start = TimeField()

    class Meta:
        table_name = "drain_marker"


class PaypalTransmission(Base):
    """The SHA-256 of the body of a transmission of PayPal's, whose signature covers only a CRC-32 of it."""

    app = IdentifierField()
    id = IdentifierField()
    body_hash = BlobField()
    created_at = TimeField()

    class Meta:
        table_name = "paypal_transmission"
        primary_key = CompositeKey("app", "id")
        indexes = [index("paypal_transmission_age ON paypal_transmission (created_at)")]
