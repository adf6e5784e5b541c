"""The billing cycles of PayPal's subscriptions: when each starts, what it costs, and what the clock makes due.

Cycle n starts at the start time plus n intervals (in a shorter month, its last day), the trial's cycles first.
"""

from __future__ import annotations

from datetime import datetime, timezone
from decimal import Decimal

from sandbox import intervals
from sandbox.paypal.billing import plans, sales
from sandbox.paypal.requests import seconds
from sandbox.store.account import Account, written
from sandbox.store.store import Thing

SUBSCRIPTION = "paypal.subscription"


def emit(account: Account, subscription: Thing, type_: str) -> None:
    """Emit an event of the subscription with its present state."""
    words = type_.rpartition(".")[2].lower()
    account.emit_paypal(f"BILLING.SUBSCRIPTION.{type_}", "subscription", subscription, f"Subscription {words}.")


def save(account: Account, subscription: Thing) -> Thing:
    """Save the subscription at the account's time, with its billing information."""
    subscription["update_time"] = written(account.moment)
    return account.save(subscription, SUBSCRIPTION)


def set_status(account: Account, subscription: Thing, status: str, note: str = "") -> None:
    """Set the status, with its time and the reason."""
    subscription.update(status=status, status_update_time=written(account.moment))
    if note:
        subscription["status_change_note"] = note
    refresh(account, subscription)
    save(account, subscription)


# --- times


def starts_at(plan: Thing, start: int, number: int) -> int:
    """When cycle `number` starts, in seconds."""
    for cycle in plan["billing_cycles"]:
        frequency, total = cycle["frequency"], cycle["total_cycles"]
        unit, count = plans.UNITS[frequency["interval_unit"]], frequency["interval_count"]
        if not total or number <= total:
            return intervals.add(start, unit, number * count)
        start, number = intervals.add(start, unit, total * count), number - total
    return start


def cycle_of(plan: Thing, number: int) -> Thing | None:
    """The billing cycle that governs cycle `number`; None after the last one."""
    for cycle in plan["billing_cycles"]:
        if not cycle["total_cycles"] or number < cycle["total_cycles"]:
            found: Thing = cycle
            return found
        number -= cycle["total_cycles"]
    return None


def due_at(subscription: Thing) -> int | None:
    """When the next cycle starts; None unless the subscription is active."""
    at: int | None = subscription["_next_at"] if subscription["status"] == "ACTIVE" else None
    return at


def refresh(account: Account, subscription: Thing) -> None:
    """Compute `billing_info` and the time of the next cycle."""
    plan = plans.need(account, subscription["plan_id"])
    number = subscription["_cycle"]
    at = starts_at(plan, seconds(subscription["start_time"]), number)
    subscription["_next_at"] = at
    info = subscription["billing_info"]
    info["cycle_executions"] = [_execution(cycle, done) for cycle, done in _done(plan, number)]
    info.pop("next_billing_time", None)
    if subscription["status"] == "ACTIVE" and cycle_of(plan, number):
        info["next_billing_time"] = written(datetime.fromtimestamp(at, timezone.utc))


def _done(plan: Thing, number: int) -> list[tuple[Thing, int]]:
    """The billing cycles, each with how many of it have started."""
    found = []
    for cycle in plan["billing_cycles"]:
        done = min(number, cycle["total_cycles"]) if cycle["total_cycles"] else number
        found.append((cycle, done))
        number -= done
    return found


def _execution(cycle: Thing, done: int) -> Thing:
    total = cycle["total_cycles"]
    return {
        "tenure_type": cycle["tenure_type"],
        "sequence": cycle["sequence"],
        "cycles_completed": done,
        "cycles_remaining": max(0, total - done),
        "current_pricing_scheme_version": 1,
        "total_cycles": total,
    }


# --- what is due


def step(account: Account, subscription: Thing) -> None:
    """Start the cycle that is due, and take its payment; after the last one the subscription expires."""
    plan = plans.need(account, subscription["plan_id"])
    cycle = cycle_of(plan, subscription["_cycle"])
    if cycle is None:
        set_status(account, subscription, "EXPIRED")
        emit(account, subscription, "EXPIRED")
        return
    subscription["_cycle"] += 1
    price = Decimal(plans.price_of(cycle)["value"]) * int(subscription["quantity"])
    if price and subscription.pop("_fail_next", False):
        _fail(account, subscription, plan, price)
        return
    if price:
        pay(account, subscription, price + outstanding(subscription))
    refresh(account, subscription)
    save(account, subscription)


def outstanding(subscription: Thing) -> Decimal:
    """What failed payments left unpaid."""
    return Decimal(subscription["billing_info"]["outstanding_balance"]["value"])


def pay(account: Account, subscription: Thing, amount: Decimal) -> Thing:
    """Take a payment that covers what is outstanding too. Returns the sale."""
    currency = plans.currency_of(plans.need(account, subscription["plan_id"]))
    sale = sales.create(account, subscription, amount, currency)
    shown = {"value": sale["amount"]["total"], "currency_code": currency}
    info = subscription["billing_info"]
    info.update(
        outstanding_balance={"currency_code": currency, "value": sales.text(Decimal(0), currency)},
        failed_payments_count=0,
        last_payment={"amount": shown, "time": written(account.moment)},
    )
    refresh(account, subscription)
    save(account, subscription)
    sales.emit_completed(account, sale)
    return sale


def _fail(account: Account, subscription: Thing, plan: Thing, price: Decimal) -> None:
    """Note a failed payment: it is outstanding until the next cycle. Too many suspend the subscription."""
    currency = plans.currency_of(plan)
    info = subscription["billing_info"]
    unpaid = sales.text(outstanding(subscription) + price, currency)
    info.update(
        outstanding_balance={"currency_code": currency, "value": unpaid},
        failed_payments_count=info["failed_payments_count"] + 1,
        last_failed_payment={
            "amount": {"currency_code": currency, "value": sales.text(price, currency)},
            "time": written(account.moment),
            "reason_code": "PAYMENT_DENIED",
        },
    )
    refresh(account, subscription)
    save(account, subscription)
    emit(account, subscription, "PAYMENT.FAILED")
    if info["failed_payments_count"] >= plan["payment_preferences"]["payment_failure_threshold"]:
        set_status(account, subscription, "SUSPENDED", "The maximum number of failed payments was reached.")
        emit(account, subscription, "SUSPENDED")
