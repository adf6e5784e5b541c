"""Outgoing webhooks: endpoints, messages and their deliveries."""

from __future__ import annotations

from peewee import Check, IntegerField, TextField, UUIDField

from models.tables.base import (
    ArrayField,
    AssignedIdField,
    Base,
    CustomerField,
    IdentifierField,
    JsonField,
    ReferenceField,
    TimeField,
    default,
    index,
    unique_index,
)


class Endpoint(Base):
    """A URL that receives an app's events, with its signing secrets. `events` empty: all types.

    A deleted endpoint keeps its row for its deliveries; its `external_id` can be used again.
    """

    id = AssignedIdField()
    app = IdentifierField()
    external_id = IdentifierField()
    url = TextField()
    events = ArrayField(TextField, constraints=[default("'{}'")])
    secret = TextField()
    old_secret = TextField(null=True)
    old_secret_until = TimeField(null=True)
    state = TextField(constraints=[default("'enabled'"), Check("state IN ('enabled', 'disabled', 'deleted')")])
    disabled_reason = TextField(null=True)
    failing_since = TimeField(null=True)
    last_failed_at = TimeField(null=True)
    created_at = TimeField()
    updated_at = TimeField()

    class Meta:
        table_name = "endpoint"
        indexes = [
            unique_index("endpoint_external_id ON endpoint (app, external_id) WHERE state <> 'deleted'"),
            index("endpoint_enabled ON endpoint (app) WHERE state = 'enabled'"),
        ]


class OutboxMessage(Base):
    """An event for the app's endpoints, stored in the transaction that caused it. `uid` is its webhook-id.

    `key`, if present: the event is stored once for each key of an app.
    """

    id = AssignedIdField()
    uid = UUIDField(constraints=[default("gen_random_uuid()")])
    app = IdentifierField()
    type = IdentifierField()
    customer = CustomerField(null=True)
    data = JsonField()
    key = IdentifierField(null=True)
    created_at = TimeField()

    class Meta:
        table_name = "outbox_message"
        indexes = [
            unique_index("outbox_message_key ON outbox_message (app, key) WHERE key IS NOT NULL"),
            index("outbox_message_customer ON outbox_message (app, customer) WHERE customer IS NOT NULL"),
            index("outbox_message_age ON outbox_message (created_at)"),
        ]


class OutboxDelivery(Base):
    """The delivery of a message to one endpoint. A sender leases it by moving `next_attempt_at` to `leased_until`."""

    id = AssignedIdField()
    app = IdentifierField()
    message_id = ReferenceField("outbox_message")
    endpoint_id = ReferenceField("endpoint")
    state = TextField(constraints=[default("'pending'"), Check("state IN ('pending', 'delivered', 'failed')")])
    attempts = IntegerField(constraints=[default("0")])
    next_attempt_at = TimeField()
    leased_until = TimeField(null=True)
    status_code = IntegerField(null=True)
    error = TextField(null=True)
    created_at = TimeField()
    delivered_at = TimeField(null=True)

    class Meta:
        table_name = "outbox_delivery"
        indexes = [
            index("outbox_delivery_app ON outbox_delivery (app, id)"),
            index("outbox_delivery_message ON outbox_delivery (message_id)"),
            index("outbox_delivery_due ON outbox_delivery (next_attempt_at) WHERE state = 'pending'"),
            index(
                "outbox_delivery_endpoint ON outbox_delivery (endpoint_id, next_attempt_at, id) WHERE state = 'pending'"
            ),
            index("outbox_delivery_leased ON outbox_delivery (endpoint_id) WHERE leased_until IS NOT NULL"),
            index("outbox_delivery_failed ON outbox_delivery (app, id) WHERE state = 'failed'"),
        ]
        table_settings = "WITH (fillfactor = 80)"
