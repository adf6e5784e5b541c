"""Which facts of a provider are news, which can be applied, and which belong to an app."""

from __future__ import annotations

from jobs.providers.facts import (
    AnyFact,
    CheckoutEnded,
    CustomerKnown,
    PaymentKnownAs,
    PaymentReversed,
    PaymentSettled,
    PeriodPaid,
    SubscriptionChanged,
)
from models.catalog.apps import App
from models.payments import amounts, checkouts, provider_customers, reconciliation
from models.plans.subscription import ENDED


def is_news(fact: AnyFact) -> bool:
    """Whether the fact is not stored yet."""
    app, provider = fact.app, fact.provider
    if isinstance(fact, PaymentSettled):
        state = reconciliation.payment_state(app, provider, (fact.reference, *fact.aliases))
        return state is None or (state in ("pending", "failed") and fact.state == "settled")
    if isinstance(fact, PeriodPaid):
        return reconciliation.payment_state(app, provider, (fact.invoice, *fact.aliases)) is None
    if isinstance(fact, SubscriptionChanged):
        stored = reconciliation.subscription(app, provider, fact.subscription)
        return stored is None or (stored.status, stored.current_period_end) != (fact.status, fact.period_end)
    if isinstance(fact, PaymentReversed):
        return _is_reversal_news(fact)
    if isinstance(fact, CustomerKnown):
        return not provider_customers.exists(app, provider, fact.provider_customer)
    if isinstance(fact, CheckoutEnded):
        return checkouts.is_news(app, fact.checkout, fact.state)
    return False


def _is_reversal_news(fact: PaymentReversed) -> bool:
    app, provider = fact.app, fact.provider
    if reconciliation.payment_state(app, provider, fact.payment) is None:
        return False
    if not all(
        reconciliation.has_refund(app, provider, refund.reference, failed=refund.failed) for refund in fact.refunds
    ):
        return True
    dispute = fact.dispute
    if dispute is None:
        return False
    moves = [move.reference for move in dispute.moves]
    return not reconciliation.has_dispute(app, provider, dispute.reference, amounts.STAGES.index(dispute.stage), moves)


def is_understood(app: App, fact: AnyFact) -> bool:
    """Whether the fact names a customer and an item of the catalog: an account may sell other things too."""
    if isinstance(fact, PaymentSettled):
        is_sold = bool(fact.checkout or fact.lines or fact.pack in app.packs or _pack_of_price(app, fact.price_id))
        return is_sold and bool(fact.customer or fact.checkout or _is_customer(fact))
    if isinstance(fact, SubscriptionChanged):
        return _is_plan(app, fact.plan, fact.price_id) or _is_subscription(fact.app, fact.provider, fact.subscription)
    if isinstance(fact, PeriodPaid):
        line = fact.line
        is_plan = line is not None and _is_plan(app, line.plan, line.price_id)
        return is_plan or _is_subscription(fact.app, fact.provider, fact.subscription)
    return True


def concerns(app: App, fact: AnyFact) -> bool:
    """Whether a fact that names no app belongs to this one: by a price of its catalog, or by what is stored."""
    slug, provider = app.slug, fact.provider
    if isinstance(fact, PaymentSettled):
        ids = (fact.reference, *fact.aliases)
        by_price = bool(fact.lines) or _pack_of_price(app, fact.price_id)
        return by_price or reconciliation.payment_state(slug, provider, ids) is not None
    if isinstance(fact, PaymentReversed | PaymentKnownAs):
        return reconciliation.payment_state(slug, provider, fact.payment) is not None
    if isinstance(fact, SubscriptionChanged):
        return _is_plan(app, None, fact.price_id) or _is_subscription(slug, provider, fact.subscription)
    if isinstance(fact, PeriodPaid):
        by_price = fact.line is not None and _is_plan(app, None, fact.line.price_id)
        return by_price or _is_subscription(slug, provider, fact.subscription)
    return False


def is_known(app: App, fact: AnyFact) -> bool:
    """Whether the fact is about a payment, a subscription or a checkout that is stored."""
    if isinstance(fact, PaymentSettled):
        ids = (fact.reference, *fact.aliases)
        is_own = fact.checkout is not None and checkouts.find(app.slug, fact.checkout) is not None
        return is_own or reconciliation.payment_state(app.slug, fact.provider, ids) is not None
    if isinstance(fact, PeriodPaid | SubscriptionChanged):
        return _is_subscription(app.slug, fact.provider, fact.subscription)
    return isinstance(fact, PaymentReversed | PaymentKnownAs | CheckoutEnded)


def of_no_plan(app: App, fact: AnyFact) -> tuple[str, str] | None:
    """(id, message) of a running subscription or a paid invoice whose price no plan of the catalog has; else None."""
    if is_understood(app, fact):
        return None
    if isinstance(fact, SubscriptionChanged) and fact.status not in ENDED:
        return fact.subscription, _without_plan(app, f"the subscription is {fact.status}", fact.plan, fact.price_id)
    if isinstance(fact, PeriodPaid) and fact.paid and fact.line is not None:
        return fact.invoice, _without_plan(app, "the invoice is paid", fact.line.plan, fact.line.price_id)
    return None


def _without_plan(app: App, state: str, plan: str | None, price_id: str | None) -> str:
    named = [f"the price {price_id!r}" if price_id else "", f"the plan {plan!r}" if plan else ""]
    names = " and ".join(filter(None, named)) or "no price"
    return (
        f"{state} and names {names}, which no plan in the catalog of {app.slug} has: add it to the catalog, restart and"
        " reconcile again"
    )


def paid_ids(facts: list[AnyFact]) -> set[str]:
    """All ids of the payments that the provider shows as paid."""
    ids: set[str] = set()
    for fact in facts:
        if isinstance(fact, PaymentSettled) and fact.state == "settled":
            ids |= {fact.reference, *fact.aliases}
        elif isinstance(fact, PeriodPaid) and fact.paid:
            ids |= {fact.invoice, *fact.aliases}
    return ids


def _is_customer(fact: PaymentSettled) -> bool:
    known_as = fact.provider_customer
    return known_as is not None and provider_customers.exists(fact.app, fact.provider, known_as)


def _pack_of_price(app: App, price_id: str | None) -> bool:
    return bool(price_id and app.pack_by_stripe_price(price_id))


def _is_plan(app: App, plan: str | None, price_id: str | None) -> bool:
    return bool(plan in app.plans or (price_id and app.plan_by_stripe_price(price_id)))


def _is_subscription(app: str, provider: str, subscription: str) -> bool:
    return reconciliation.subscription(app, provider, subscription) is not None
