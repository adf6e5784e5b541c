"""Subscriptions to plans, and their activation keys."""

from __future__ import annotations

from peewee import BigIntegerField, BlobField, IntegerField, TextField

from models.tables.base import (
    ArrayField,
    AssignedIdField,
    Base,
    IdentifierField,
    IdField,
    JsonbField,
    ReferenceField,
    TimeField,
    default,
    index,
    unique,
)


class Subscription(Base):
    """A subscription at a provider, with its next monthly grant and the months that are paid or withheld.

    `promised_*`: the month that a checkout created by Scrip sold, granted with the units it was sold with.
    `withheld`, `paid`: see docs/decisions/0010-which-months-are-owed.md. `unpaid_invoices` is no longer written.
    """

    id = IdField()
    app = IdentifierField()
    account_id = ReferenceField("account")
    provider = IdentifierField()
    provider_id = IdentifierField()
    plan = TextField(null=True)
    plan_at = TimeField(constraints=[default("'0001-01-01 00:00:00+00'")])
    status = TextField()
    anchor = TimeField()
    current_period_end = TimeField(null=True)
    paid_until = TimeField(null=True)
    paid = JsonbField(constraints=[default("'[]'")])
    withheld = JsonbField(constraints=[default("'{}'")])
    unpaid_invoices = ArrayField(TextField, constraints=[default("'{}'")])
    cycle_base = IntegerField(constraints=[default("0")])
    next_cycle = IntegerField(constraints=[default("0")])
    next_cycle_at = TimeField(null=True)
    promised_plan = TextField(null=True)
    promised_units = BigIntegerField(null=True)
    promised_cycle = IntegerField(null=True)
    granted_at = TimeField(null=True)
    changed_at = TimeField()
    created_at = TimeField()
    updated_at = TimeField()

    class Meta:
        table_name = "subscription"
        constraints = [unique("app, provider, provider_id")]
        indexes = [
            index("subscription_account ON subscription (account_id)"),
            index("subscription_due ON subscription (next_cycle_at, id) WHERE next_cycle_at IS NOT NULL"),
        ]
        table_settings = "WITH (fillfactor = 80)"


class ActivationKey(Base):
    """The activation key of a subscription. Its owner may read it again; a lookup uses the hash."""

    id = AssignedIdField()
    app = IdentifierField()
    account_id = ReferenceField("account")
    subscription_id = ReferenceField("subscription")
    key = IdentifierField()
    hash = BlobField()
    created_at = TimeField()

    class Meta:
        table_name = "activation_key"
        constraints = [unique("subscription_id"), unique("app, hash")]
        indexes = [index("activation_key_account ON activation_key (account_id)")]
