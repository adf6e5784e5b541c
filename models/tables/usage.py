"""Usage reports and the queue of those that are not settled."""

from __future__ import annotations

from peewee import BigIntegerField, BooleanField, Check, IntegerField, SmallIntegerField, TextField

from models.tables.base import (
    Base,
    CustomerField,
    IdentifierField,
    IdField,
    JsonbField,
    ReferenceField,
    TimeField,
    default,
    index,
    unique,
)


class UsageReport(Base):
    """Usage that an app reported once, by its own id, with the units that it cost after settlement.

    `lines`: its rates and quantities, in place of one. `price`: the terms that it was accepted at.
    """

    id = IdField()
    app = IdentifierField()
    external_id = IdentifierField()
    customer = CustomerField()
    rate = IdentifierField(null=True)
    quantity = BigIntegerField(null=True)
    state = TextField(
        constraints=[default("'pending'"), Check("state IN ('pending', 'settled', 'refused', 'dead')")],
    )
    units = BigIntegerField(constraints=[default("0")])
    shortfall = BigIntegerField(constraints=[default("0")])
    entry_id = ReferenceField("entry", null=True)
    metadata = JsonbField(null=True)
    occurred_at = TimeField(null=True)
    received_at = TimeField()
    settled_at = TimeField(null=True)
    lines = JsonbField(null=True)
    price = TextField(null=True)

    class Meta:
        table_name = "usage_report"
        constraints = [unique("app, external_id")]
        indexes = [index("usage_report_customer ON usage_report (app, customer, id)")]
        table_settings = "WITH (fillfactor = 75)"


class UsageQueue(Base):
    """A report that is not settled, in the lane of its customer (docs/decisions/0002-lanes.md)."""

    report_id = ReferenceField("usage_report", primary_key=True)
    app = IdentifierField()
    customer = CustomerField()
    lane = SmallIntegerField()
    received_at = TimeField()
    next_attempt_at = TimeField()
    attempts = IntegerField(constraints=[default("0")])
    error = TextField(null=True)
    solo = BooleanField(constraints=[default("false")])
    dead = BooleanField(constraints=[default("false")])

    class Meta:
        table_name = "usage_queue"
        indexes = [
            index("usage_queue_lane ON usage_queue (lane, report_id) WHERE NOT dead"),
            index("usage_queue_customer ON usage_queue (app, customer) WHERE NOT dead"),
        ]
