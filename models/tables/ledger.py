"""The ledger. `models.ledger` is its only writer, with SQL over whole batches."""

from __future__ import annotations

from peewee import BigIntegerField, BooleanField, Check, CompositeKey, IntegerField, TextField

from models.tables.base import (
    Base,
    IdentifierField,
    IdField,
    JsonbField,
    NumericField,
    ReferenceField,
    TimeField,
    default,
    index,
    unique,
)


class Account(Base):
    """A customer of an app, with the current balance. Its row lock serializes all changes to the customer's credit."""

    id = IdField()
    app = IdentifierField()
    customer = IdentifierField()
    balance = BigIntegerField(constraints=[default("0")])
    held = BigIntegerField(constraints=[default("0"), Check("held >= 0")])
    debt = BigIntegerField(constraints=[default("0"), Check("debt >= 0")])
    seq = BigIntegerField(constraints=[default("0")])
    tier = TextField(null=True)
    email = TextField(null=True)
    timezone = TextField(null=True)
    cooldown_until = TimeField(null=True)
    free_sessions_used = IntegerField(constraints=[default("0"), Check("free_sessions_used >= 0")])
    created_at = TimeField()
    updated_at = TimeField()

    class Meta:
        table_name = "account"
        constraints = [unique("app, customer")]
        indexes = [index("account_first ON account (app, id)")]
        table_settings = "WITH (fillfactor = 70)"


class Lot(Base):
    """Units from one grant, with what remains of them, when they expire and what was paid for them."""

    id = BigIntegerField(primary_key=True)
    account_id = ReferenceField("account")
    entry_id = ReferenceField("entry")
    source = TextField()
    granted = BigIntegerField(constraints=[Check("granted > 0")])
    lapsed = BigIntegerField(constraints=[default("0")])
    remaining = BigIntegerField(constraints=[Check("remaining >= 0")])
    held = BigIntegerField(constraints=[default("0"), Check("held >= 0")])
    frozen = BooleanField(constraints=[default("false")])
    open = BooleanField(constraints=[default("true")])
    priority = IntegerField(constraints=[default("0")])
    effective_at = TimeField()
    expires_at = TimeField(null=True)
    price_minor = BigIntegerField(null=True)
    currency = TextField(null=True)
    payment_id = ReferenceField("payment", null=True)
    subscription_id = ReferenceField("subscription", null=True)
    per_period = BooleanField(constraints=[default("false")])
    period_start = TimeField(null=True)

    class Meta:
        table_name = "lot"
        indexes = [
            index("lot_account ON lot (account_id, open)"),
            index("lot_expiry ON lot (expires_at, id) WHERE open AND expires_at IS NOT NULL"),
            index("lot_payment ON lot (payment_id) WHERE payment_id IS NOT NULL"),
            index("lot_subscription ON lot (subscription_id, period_start) WHERE subscription_id IS NOT NULL"),
        ]
        table_settings = "WITH (fillfactor = 70)"


class Entry(Base):
    """One change of a balance, with the balance before and after it. Append-only: a trigger refuses other changes."""

    id = BigIntegerField()
    app = IdentifierField()
    account_id = ReferenceField("account")
    seq = BigIntegerField()
    amount = BigIntegerField()
    type = TextField()
    reason = TextField()
    key = IdentifierField()
    balance_before = BigIntegerField()
    balance_after = BigIntegerField(constraints=[Check("balance_after = balance_before + amount")])
    reverses_id = ReferenceField("entry", null=True)
    actor = TextField()
    meta = JsonbField(null=True)
    occurred_at = TimeField(null=True)
    created_at = TimeField()

    class Meta:
        table_name = "entry"
        primary_key = CompositeKey("app", "id")
        constraints = [unique("app, key"), unique("account_id, seq")]
        indexes = [
            index("entry_reverses ON entry (reverses_id) WHERE reverses_id IS NOT NULL"),
            index("entry_event ON entry (app, (meta ->> 'event')) WHERE meta ? 'event'"),
        ]


class Allocation(Base):
    """The part of an entry that one lot took or gave; without a lot, the part that is debt. Append-only."""

    entry_id = ReferenceField("entry")
    lot_id = ReferenceField("lot", null=True)
    amount = BigIntegerField(constraints=[Check("amount <> 0")])

    class Meta:
        table_name = "allocation"
        primary_key = False
        indexes = [index("allocation_entry ON allocation (entry_id)")]


class Hold(Base):
    """Units reserved for a use whose cost is not known yet, until the hold is captured, released or expires."""

    id = BigIntegerField(primary_key=True)
    app = IdentifierField()
    account_id = ReferenceField("account")
    key = IdentifierField()
    units = BigIntegerField(constraints=[Check("units >= 0")])
    captured = BigIntegerField(constraints=[default("0"), Check("captured >= 0")])
    state = TextField(constraints=[Check("state IN ('held', 'captured', 'released', 'expired')")])
    lots = JsonbField()
    reason = TextField()
    meta = JsonbField(null=True)
    entry_id = ReferenceField("entry", null=True)
    created_at = TimeField()
    expires_at = TimeField()
    closed_at = TimeField(null=True)

    class Meta:
        table_name = "hold"
        constraints = [unique("app, key")]
        indexes = [
            index("hold_due ON hold (expires_at) WHERE state = 'held'"),
            index("hold_account ON hold (account_id)"),
        ]


class Carry(Base):
    """What a customer used at a rate with rounding = "carry", and the whole units that were charged for it."""

    account_id = ReferenceField("account")
    rate = IdentifierField()
    charged = NumericField(constraints=[Check("charged >= 0")])
    numerator = NumericField(constraints=[Check("numerator >= 0")])
    denominator = NumericField(constraints=[Check("denominator > 0")])
    unlisted = NumericField(constraints=[default("0"), Check("unlisted >= 0")])

    class Meta:
        table_name = "carry"
        primary_key = CompositeKey("account_id", "rate")
        table_settings = "WITH (fillfactor = 70)"
