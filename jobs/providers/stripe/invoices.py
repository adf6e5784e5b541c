"""Translates Stripe's events of subscriptions and their invoices into facts.

Sources: Stripe's API reference on Subscription and Invoice, before and since basil.
"""

from __future__ import annotations

from collections.abc import Iterator

from jobs.providers.facts import AnyFact, PeriodPaid, PlanLine, SubscriptionChanged
from jobs.providers.stripe import parts
from jobs.providers.stripe.objects import (
    Object,
    created,
    currency_of,
    get,
    id_of,
    metadata,
    objects,
    price_of,
    subscription_metadata,
    text,
    time_of,
    whole,
)
from jobs.providers.stripe.pack_lines import pack_lines
from models.catalog.apps import App
from models.errors import NotOurs
from models.inbox.events import Event
from models.plans.subscription import PAUSED


def subscription_changed(app: App, event: Event, subscription: Object) -> Iterator[AnyFact]:
    """The state of the subscription in the event, in the shape before or since basil."""
    item = _plan_item(app, subscription)
    start = time_of(subscription.get("current_period_start") or item.get("current_period_start"))
    yield SubscriptionChanged(
        app=app.slug,
        provider=event.provider,
        event_id=event.event_id,
        subscription=text(subscription["id"]),
        customer=metadata(subscription).get("customer"),
        provider_customer=id_of(subscription.get("customer")),
        plan=metadata(subscription).get("plan"),
        checkout=metadata(subscription).get("checkout"),
        price_id=price_of(item),
        status=_status(event, subscription),
        anchor=time_of(subscription.get("billing_cycle_anchor") or subscription.get("start_date"))
        or start
        or created(event),
        period_start=start,
        period_end=time_of(subscription.get("current_period_end") or item.get("current_period_end")),
        changed_at=created(event),
        is_first=event.type.endswith(".created"),
        is_current=event.is_fetched,
        latest_invoice=id_of(subscription.get("latest_invoice")),
    )


def _plan_item(app: App, subscription: Object) -> Object:
    """The item whose price is a plan's, else the first item. Other items are add-ons."""
    items = objects(subscription, "items", "data")
    return next((item for item in items if _is_plan(app, item)), items[0] if items else {})


def _is_plan(app: App, line: Object) -> bool:
    price = price_of(line)
    return price is not None and app.plan_by_stripe_price(price) is not None


def _status(event: Event, subscription: Object) -> str:
    """The status. Stripe keeps a subscription active while collection is paused, but no units are due then."""
    status = "canceled" if event.type.endswith(".deleted") else text(subscription["status"])
    return PAUSED if status in ("active", "trialing") and subscription.get("pause_collection") else status


RENEWALS = ("subscription_create", "subscription_cycle")
# A subscription may begin with the days before its fixed billing day, which Stripe also prorates.
PRORATED = ("subscription_create", "subscription_update")


def _invoice(app: App, event: Event, invoice: Object, paid: bool) -> Iterator[AnyFact]:
    subscription = _subscription(invoice)
    if not subscription:
        raise NotOurs("the invoice does not belong to a subscription")
    reason = invoice.get("billing_reason")
    changes = reason == "subscription_update"
    line = _plan_line(app, invoice) or (_prorated_line(app, invoice) if reason in PRORATED else None)
    yield PeriodPaid(
        app=app.slug,
        provider=event.provider,
        event_id=event.event_id,
        subscription=subscription,
        customer=subscription_metadata(invoice).get("customer") or metadata(line or {}).get("customer"),
        provider_customer=id_of(invoice.get("customer")),
        invoice=text(invoice["id"]),
        checkout=subscription_metadata(invoice).get("checkout"),
        paid=paid,
        renews=reason in RENEWALS,
        changes=changes,
        is_given_up=event.type in ("invoice.voided", "invoice.marked_uncollectible"),
        line=_paid_line(line, invoice, changes and _is_proration(line)) if line else None,
        amount_minor=whole(invoice.get("amount_paid")),
        currency=currency_of(invoice),
        aliases=tuple(name for name in (id_of(invoice.get("payment_intent")),) if name),
    )


def _subscription(invoice: Object) -> str | None:
    return id_of(invoice.get("subscription")) or id_of(get(invoice, "parent", "subscription_details", "subscription"))


def invoice_paid(app: App, event: Event, invoice: Object) -> Iterator[AnyFact]:
    """A paid invoice of a period or of a change of the plan, of packs, or of both."""
    packs = list(pack_lines(app, event, invoice))
    if _subscription(invoice) or not packs:
        yield from _invoice(app, event, invoice, paid=True)
    yield from packs or parts.of_paid_invoice(app, event, invoice)


def invoice_unpaid(app: App, event: Event, invoice: Object) -> Iterator[AnyFact]:
    """An invoice whose payment failed, or that was voided or marked uncollectible."""
    return _invoice(app, event, invoice, paid=False)


def invoice_sent(app: App, event: Event, invoice: Object) -> Iterator[AnyFact]:
    """An invoice that was sent to be paid manually: until it is paid, Stripe reports the subscription as active.

    Raises:
        NotOurs: the invoice is charged automatically, so another event reports its result, or it is not open.
    """
    if invoice.get("collection_method") != "send_invoice" or invoice.get("status") != "open":
        raise NotOurs("the invoice is not waiting to be paid manually")
    yield from _invoice(app, event, invoice, paid=False)


def _plan_line(app: App, invoice: Object) -> Object | None:
    """The line that pays for the plan itself: not a proration, and not a one-off item such as a setup fee."""
    lines = objects(invoice, "lines", "data")
    return _latest(app, [line for line in lines if not _is_proration(line) and not _is_one_off(line)])


def _prorated_line(app: App, invoice: Object) -> Object | None:
    """The proration that pays for the rest of a period on a plan. The credit for an older plan is negative."""
    prorations = [line for line in objects(invoice, "lines", "data") if _is_proration(line)]
    return _latest(app, [line for line in prorations if isinstance(line.get("amount"), int) and line["amount"] > 0])


def _latest(app: App, lines: list[Object]) -> Object | None:
    """The latest line whose price is a plan's; the latest of all lines if there is no such price."""
    plans = [line for line in lines if _is_plan(app, line)]
    return max(plans or lines, key=lambda line: line["period"]["start"], default=None)


def _is_one_off(line: Object) -> bool:
    return line.get("type") == "invoiceitem" or get(line, "parent", "type") == "invoice_item_details"


def _is_proration(line: Object) -> bool:
    details = [get(line, "parent", kind, "proration") for kind in ("subscription_item_details", "invoice_item_details")]
    return bool(line.get("proration") or any(details))


def _paid_line(line: Object, invoice: Object, is_change: bool) -> PlanLine:
    start, end = time_of(line["period"]["start"]), time_of(line["period"]["end"])
    if start is None or end is None:
        raise ValueError("a line of data.object.lines has no period")
    plan = subscription_metadata(invoice).get("plan") or metadata(line).get("plan")
    return PlanLine(plan=plan, price_id=price_of(line), start=start, end=end, is_prorated=is_change)
