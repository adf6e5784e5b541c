"""Payments, checkouts, refunds and disputes, and customers at providers."""

from __future__ import annotations

from peewee import BigIntegerField, BooleanField, Check, CompositeKey, SmallIntegerField, TextField

from models.tables.base import (
    ArrayField,
    AssignedIdField,
    Base,
    CustomerField,
    IdentifierField,
    IdField,
    JsonbField,
    JsonField,
    ReferenceField,
    TimeField,
    default,
    index,
    unique,
    unique_index,
)


class Payment(Base):
    """One economic payment, with the units it granted and the money that was refunded or disputed.

    `aliases`: further ids that the provider uses for it. Amounts are in the minor unit of `currency`. Tax, discount
    and the provider's fee are null if the provider did not report them.
    """

    id = IdField()
    app = IdentifierField()
    account_id = ReferenceField("account")
    provider = IdentifierField()
    reference = IdentifierField()
    aliases = ArrayField(IdentifierField, collation='"C"', constraints=[default("'{}'")])
    order_id = IdentifierField(null=True)
    pack = TextField(null=True)
    plan = TextField(null=True)
    quantity = BigIntegerField(constraints=[default("1")])
    amount_minor = BigIntegerField(null=True)
    currency = TextField(null=True)
    units_granted = BigIntegerField(constraints=[default("0")])
    refunded_minor = BigIntegerField(constraints=[default("0")])
    disputed_minor = BigIntegerField(constraints=[default("0")])
    state = TextField(
        constraints=[Check("state IN ('pending', 'settled', 'partly_refunded', 'refunded', 'disputed', 'failed')")],
    )
    frozen = BooleanField(constraints=[default("false")])
    entry_id = ReferenceField("entry", null=True)
    subscription_id = ReferenceField("subscription", null=True)
    period_start = TimeField(null=True)
    period_end = TimeField(null=True)
    confirmed_at = TimeField(null=True)
    created_at = TimeField()
    updated_at = TimeField()
    tax_minor = BigIntegerField(null=True)
    discount_minor = BigIntegerField(null=True)
    fee_minor = BigIntegerField(null=True)
    pending_sale = JsonbField(null=True)

    class Meta:
        table_name = "payment"
        constraints = [unique("app, provider, reference")]
        indexes = [
            index("payment_account ON payment (account_id, id)"),
            index("payment_aliases ON payment USING gin (aliases)"),
            index(
                "payment_subscription ON payment (subscription_id, period_start) WHERE subscription_id IS NOT NULL",
            ),
        ]


class PaymentReturn(Base):
    """A refund, credit note or dispute of a payment, which may be reported before the payment itself.

    `payment`: all ids that the provider used for the payment. An `alias` row only joins such ids. A `capture` row has
    the captured amount, and the authorised one in `withdrawn_minor`.
    """

    app = IdentifierField()
    provider = IdentifierField()
    kind = TextField(
        constraints=[Check("kind IN ('refund', 'refunded', 'credit_note', 'dispute', 'alias', 'capture')")]
    )
    reference = IdentifierField()
    payment = ArrayField(IdentifierField, references="payment", collation='"C"')
    amount_minor = BigIntegerField(constraints=[default("0")])
    currency = IdentifierField(null=True)
    failed = BooleanField(constraints=[default("false")])
    stage = SmallIntegerField(constraints=[default("0")])
    withdrawn_minor = BigIntegerField(constraints=[default("0")])
    reinstated_minor = BigIntegerField(constraints=[default("0")])
    moves = JsonbField(constraints=[default("'{}'")])
    decided_at = TimeField(null=True)
    occurred_at = TimeField(null=True)
    created_at = TimeField()
    updated_at = TimeField()

    class Meta:
        table_name = "payment_return"
        primary_key = CompositeKey("app", "provider", "kind", "reference")
        indexes = [index("payment_return_payment ON payment_return USING gin (payment)")]


class Checkout(Base):
    """A checkout that Scrip created at a provider, with everything that was promised at the time of sale.

    `given_id`: the id that a customer's token gave; `external_id` is then made of it and the customer. `options`: the
    catalog's rules of checkouts and the request's metadata.
    """

    id = AssignedIdField()
    app = IdentifierField()
    external_id = IdentifierField()
    customer = CustomerField()
    content = JsonbField()
    pack = TextField(null=True)
    plan = TextField(null=True)
    quantity = BigIntegerField()
    units = BigIntegerField()
    price_minor = BigIntegerField()
    currency = TextField()
    expires_after = TextField(null=True)
    refundable = BooleanField()
    title = TextField()
    stripe_price = TextField(null=True)
    email = TextField(null=True)
    success_url = TextField()
    cancel_url = TextField()
    provider = IdentifierField()
    provider_id = IdentifierField(null=True)
    url = TextField(null=True)
    state = TextField(
        constraints=[default("'new'"), Check("state IN ('new', 'open', 'expired', 'pending', 'failed', 'paid')")],
    )
    payment_id = ReferenceField("payment", null=True)
    created_at = TimeField()
    updated_at = TimeField()
    given_id = IdentifierField(null=True)
    options = JsonbField(null=True)

    class Meta:
        table_name = "checkout"
        constraints = [Check("(pack IS NULL) <> (plan IS NULL)"), unique("app, external_id")]
        indexes = [
            index("checkout_customer ON checkout (app, customer, id)"),
            index("checkout_app ON checkout (app, id)"),
            index("checkout_payment ON checkout (payment_id) WHERE payment_id IS NOT NULL"),
            index("checkout_provider ON checkout (app, provider, provider_id) WHERE provider_id IS NOT NULL"),
            index("checkout_open ON checkout (app, provider, id) WHERE state IN ('open', 'pending')"),
        ]


class RefundRequest(Base):
    """A refund that Scrip requested from a provider. `amount_minor` null: all that is left of the payment."""

    id = AssignedIdField()
    app = IdentifierField()
    external_id = IdentifierField()
    payment_id = ReferenceField("payment")
    customer = CustomerField(null=True)
    amount_minor = BigIntegerField(null=True)
    reason = TextField()
    actor = TextField(constraints=[default("'operator'")])
    answer = JsonField(null=True)
    created_at = TimeField()
    answered_at = TimeField(null=True)

    class Meta:
        table_name = "refund_request"
        constraints = [unique("app, external_id")]
        indexes = [
            index("refund_request_payment ON refund_request (payment_id)"),
            index("refund_request_app ON refund_request (app, id)"),
            index("refund_request_customer ON refund_request (app, customer, id)"),
        ]


class ProviderCustomer(Base):
    """An account that a provider's own customer id stands for; it may stand for several.

    `is_own`: Scrip created the customer at the provider for this account.
    """

    app = IdentifierField()
    provider = IdentifierField()
    provider_id = IdentifierField()
    account_id = ReferenceField("account")
    is_own = BooleanField(constraints=[default("false")])

    class Meta:
        table_name = "provider_customer"
        primary_key = CompositeKey("app", "provider", "provider_id", "account_id")
        indexes = [
            index("provider_customer_account ON provider_customer (account_id)"),
            unique_index("provider_customer_own ON provider_customer (account_id, provider) WHERE is_own"),
        ]
