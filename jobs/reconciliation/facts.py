"""Which facts of a provider are news, which can be applied, and which belong to an app."""

from __future__ import annotations

from jobs.providers.facts import (
    AnyFact,
    CheckoutEnded,
    CustomerKnown,
    PaymentKnownAs,
    PaymentReversed,
    PaymentSettled,
    PlanReported,
)
from models.catalog.apps import App
from models.payments import amounts, checkouts, provider_customers, reconciliation
from models.plans import known
from models.plans.facts import ENDED, Bill, Snapshot


def is_news(fact: AnyFact) -> bool:
    """Whether the fact is not stored yet."""
    app, provider = fact.app, fact.provider
    if isinstance(fact, PaymentSettled):
        state = reconciliation.payment_state(app, provider, (fact.reference, *fact.aliases))
        return state is None or (state in ("pending", "failed") and fact.state == "settled")
    if isinstance(fact, PlanReported):
        return known.is_news(app, provider, fact.subscription, fact.fact)
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
    if isinstance(fact, PlanReported):
        return _is_sold(app, fact) or _is_subscription(fact.app, fact.provider, fact.subscription)
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
    if isinstance(fact, PlanReported):
        return _is_sold(app, fact, by_name=False) or _is_subscription(slug, provider, fact.subscription)
    return False


def is_known(app: App, fact: AnyFact) -> bool:
    """Whether the fact is about a payment, a subscription or a checkout that is stored."""
    if isinstance(fact, PaymentSettled):
        ids = (fact.reference, *fact.aliases)
        is_own = fact.checkout is not None and checkouts.find(app.slug, fact.checkout) is not None
        return is_own or reconciliation.payment_state(app.slug, fact.provider, ids) is not None
    if isinstance(fact, PlanReported):
        return _is_subscription(app.slug, fact.provider, fact.subscription)
    return isinstance(fact, PaymentReversed | PaymentKnownAs | CheckoutEnded)


def of_no_plan(app: App, fact: AnyFact) -> tuple[str, str] | None:
    """(id, message) of a running subscription or a paid invoice whose price no plan of the catalog has; else None."""
    if is_understood(app, fact):
        return None
    if not isinstance(fact, PlanReported):
        return None
    told = fact.fact
    if isinstance(told, Snapshot) and told.status not in ENDED:
        price = next((item.price for item in told.items if item.price), None)
        return str(fact.subscription), _without_plan(app, f"the subscription is {told.status}", told.plan, price)
    if isinstance(told, Bill) and told.state == "paid" and told.lines:
        return told.bill, _without_plan(app, "the invoice is paid", told.plan, told.lines[0].price)
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
        elif isinstance(fact, PlanReported) and isinstance(fact.fact, Bill) and fact.fact.state == "paid":
            ids |= {fact.fact.bill, *fact.fact.aliases}
    return ids


def _is_customer(fact: PaymentSettled) -> bool:
    known_as = fact.provider_customer
    return known_as is not None and provider_customers.exists(fact.app, fact.provider, known_as)


def _pack_of_price(app: App, price_id: str | None) -> bool:
    return bool(price_id and app.pack_by_stripe_price(price_id))


def _is_sold(app: App, fact: PlanReported, *, by_name: bool = True) -> bool:
    """Whether a price of the fact is of a plan of the catalog; `by_name`: or its metadata name such a plan."""
    told = fact.fact
    if isinstance(told, Snapshot):
        prices = [item.price for item in told.items]
        names = {told.plan}
    elif isinstance(told, Bill):
        prices = [line.price for line in told.lines]
        names = {told.plan, *(line.plan for line in told.lines)}
    else:
        return False
    sold = any(app.plan_by_stripe_price(price) or app.plan_by_paypal_plan(price) for price in prices if price)
    return sold or (by_name and any(name in app.plans for name in names if name))


def _is_subscription(app: str, provider: str, subscription: str | None) -> bool:
    stored = reconciliation.subscription(app, provider, subscription) if subscription else None
    return stored is not None and stored.plan is not None
