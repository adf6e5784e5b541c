"""Subscriptions to plans, and their activation keys."""

from __future__ import annotations

from peewee import BlobField, Check, CompositeKey, TextField

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
    """A subscription at a provider, with what was computed last from its facts (models/plans/owed.py).

    `plan`: the largest one that is owed until `owed_until`. `upcoming`: grants that fall due later, or times at which
    to compute again (models/plans/upcoming.py), the first of them at `next_due_at`. `snapshot`: the fact that is in
    force.
    """

    id = IdField()
    app = IdentifierField()
    account_id = ReferenceField("account", null=True)
    provider = IdentifierField()
    provider_id = IdentifierField()
    plan = TextField(null=True)
    status = TextField()
    anchor = TimeField(null=True)
    cycle_start = TimeField(null=True)
    cycle_end = TimeField(null=True)
    owed_until = TimeField(null=True)
    trial_end = TimeField(null=True)
    cancel_at = TimeField(null=True)
    ended_at = TimeField(null=True)
    items = JsonbField(constraints=[default("'[]'")])
    snapshot = IdentifierField(null=True)
    notes = ArrayField(TextField, constraints=[default("'{}'")])
    upcoming = JsonbField(constraints=[default("'[]'")])
    next_due_at = TimeField(null=True)
    granted_at = TimeField(null=True)
    created_at = TimeField()
    updated_at = TimeField()
    pending_change = JsonbField(null=True)
    paused_until = TimeField(null=True)
    open_invoice_url = TextField(null=True)

    class Meta:
        table_name = "subscription"
        constraints = [unique("app, provider, provider_id")]
        indexes = [
            index("subscription_account ON subscription (account_id)"),
            index("subscription_due ON subscription (next_due_at, id) WHERE next_due_at IS NOT NULL"),
        ]
        table_settings = "WITH (fillfactor = 80)"


class PlanFact(Base):
    """A fact of a subscription, as its provider reported it. Never changed, never deleted.

    `key`: the provider's id of the report. A credit note names its `bill` only.
    """

    id = IdField()
    app = IdentifierField()
    provider = IdentifierField()
    subscription = IdentifierField(null=True)
    bill = IdentifierField(null=True)
    kind = TextField(
        constraints=[Check("kind IN ('snapshot', 'bill', 'session', 'credit_note', 'opening', 'schedule')")],
    )
    key = IdentifierField()
    content = JsonbField()
    event_id = IdentifierField(null=True)
    received_at = TimeField()

    class Meta:
        table_name = "plan_fact"
        constraints = [unique("app, provider, kind, key")]
        indexes = [
            index("plan_fact_subscription ON plan_fact (app, provider, subscription) WHERE subscription IS NOT NULL"),
            index("plan_fact_bill ON plan_fact (app, provider, bill) WHERE bill IS NOT NULL"),
        ]


class PlanTerms(Base):
    """What a plan of the catalog grants since a time. A start with a changed catalog adds rows."""

    app = IdentifierField()
    plan = IdentifierField()
    since = TimeField()
    content = JsonbField()

    class Meta:
        table_name = "plan_terms"
        primary_key = CompositeKey("app", "plan", "since")


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
