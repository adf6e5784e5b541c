"""Which packs a payment bought, and how many: the units follow the money.

A checkout of Scrip has its promise; a line of a session or an invoice has its price and quantity. Where only an amount
is known, a whole multiple of the pack's price buys that many packs; any other amount from the pack's `min_price` on
buys one, with a note for operators; less buys nothing. The number never comes from an event's metadata.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from jobs.providers.facts import PaymentSettled
from jobs.providers.sold import PackLine
from models import money
from models.catalog import prices
from models.catalog.apps import App, Pack
from models.errors import Unprocessable
from models.inbox.events import MEND
from models.ledger.accounts import CREDIT_MANUALLY
from models.payments import checkouts
from models.payments.reversals import Captured
from models.tables import Checkout

MOST_UNITS = 10**12


@dataclass(frozen=True, slots=True)
class Sold:
    """So many of a pack. `line`: the provider's id of its line, if the payment has several; `note`: for operators."""

    pack: Pack
    quantity: int
    line: str | None = None
    note: str | None = None
    price_minor: int | None = None


def sold(app: App, fact: PaymentSettled, checkout: Checkout | None) -> list[Sold]:
    """What the payment bought: by the checkout's promise, by its lines, or by its amount. At least one.

    Raises:
        Unprocessable: the event names no pack of the catalog, or too little was paid.
    """
    promised = checkouts.sold_pack(checkout) if checkout else None
    if fact.is_partial and fact.lines and promised is None:
        raise Unprocessable(
            f"only {money.to_amount(fact.amount_minor or 0, fact.currency or 'usd')} {fact.currency} were captured of a"
            f" payment for several packs: {CREDIT_MANUALLY}"
        )
    if checkout is not None and promised is not None and not fact.is_partial:
        _check_paid(fact, promised, checkout.quantity)
        return [_limited(Sold(promised, checkout.quantity))]
    if fact.lines:
        return [_limited(_of_line(app, line, fact.note)) for line in fact.lines]
    pack = promised or _pack(app, fact)
    quantity, note = _quantity(fact, pack)
    return [_limited(Sold(pack, quantity, note=note or fact.note))]


def note_of(app: App, fact: PaymentSettled) -> str | None:
    """The note on a payment whose units follow from its amount, or of which a part could not be applied."""
    if fact.checkout or fact.state == "failed":
        return None
    try:
        return next((each.note for each in sold(app, fact, None) if each.note), None)
    except Unprocessable:
        return None  # another event credited the payment


def with_capture(fact: PaymentSettled, captured: Captured | None) -> PaymentSettled:
    """The payment as it is after its capture: paid in whole or in part, or canceled."""
    if captured is None or fact.state == "failed":
        return fact
    if captured.amount_minor:
        is_partial = captured.amount_minor < captured.authorized_minor
        return replace(fact, state="settled", amount_minor=captured.amount_minor, is_partial=is_partial)
    return replace(fact, state="failed") if captured.canceled and fact.state == "pending" else fact


def _of_line(app: App, line: PackLine, note: str | None) -> Sold:
    pack = app.pack_by_stripe_price(line.price_id)
    assert pack is not None, "lines name packs of the catalog"
    return Sold(pack, line.quantity, line=line.reference, note=note, price_minor=line.amount_minor)


def _limited(found: Sold) -> Sold:
    if found.pack.units * found.quantity > MOST_UNITS:
        raise Unprocessable(f"{found.quantity} × {found.pack.key} is more than {MOST_UNITS} units: refund the payment")
    return found


def _check_paid(fact: PaymentSettled, pack: Pack, quantity: int) -> None:
    """Check a promised payment whose price the payer could choose, as in an order that a browser created.

    The buyer of a Stripe session cannot choose its amount, and may pay in another currency than the pack's.

    Raises:
        Unprocessable: the amount is less than what the checkout promised, or in another currency.
    """
    if not fact.is_priced_by_payer or fact.state != "settled":
        return
    amount_minor, currency = fact.amount_minor or 0, fact.currency or ""
    cost = prices.fault(pack, quantity, amount_minor, currency)
    if cost:
        raise _too_little(amount_minor, currency, cost)


def _quantity(fact: PaymentSettled, pack: Pack) -> tuple[int, str | None]:
    """How many packs were bought, and a note if that is not certain.

    Raises:
        Unprocessable: less than the pack's least price was paid, or the payer chose another currency.
    """
    is_by_amount = fact.is_priced_by_payer or fact.is_partial
    paid = (fact.amount_minor or 0, fact.currency or "") if is_by_amount else fact.subtotal
    if paid is None or fact.state == "failed":
        return fact.quantity, None if fact.has_amounts else _of_unknown_amount(fact, pack)
    amount_minor, currency = paid
    written = f"{money.to_amount(amount_minor, currency)} {currency} were paid for"
    if currency != pack.currency and not fact.is_priced_by_payer:
        return 1, f"{written} {pack.key}, whose price is in {pack.currency}: one pack was credited; check the quantity"
    quantity = prices.quantity(pack, amount_minor, currency)
    if quantity is not None:
        return quantity, None
    cost = prices.least_fault(pack, amount_minor, currency)
    if cost is None:
        whole = f"{money.to_amount(pack.price_minor, pack.currency)} {pack.currency}"
        return 1, f"{written} {pack.key}, which costs {whole}: one pack was credited"
    if fact.state == "settled" or not fact.is_priced_by_payer:
        raise _too_little(amount_minor, currency, cost)
    return fact.quantity, None


def _of_unknown_amount(fact: PaymentSettled, pack: Pack) -> str | None:
    """The note on a session without a subtotal: nothing says how many packs were bought, nor that one was."""
    if prices.quantity(pack, fact.amount_minor or 0, fact.currency or "") == 1:
        return None
    return f"the event does not say what was paid before tax and discount for {pack.key}: one was credited; check it"


def _too_little(amount_minor: int, currency: str, cost: str) -> Unprocessable:
    paid = money.to_amount(amount_minor, currency)
    return Unprocessable(f"{paid} {currency} were paid for {cost}: refund it; or if the price is wrong, {MEND}")


def _pack(app: App, fact: PaymentSettled) -> Pack:
    by_price = app.pack_by_stripe_price(fact.price_id) if fact.price_id else None
    pack = app.packs.get(fact.pack) if fact.pack else by_price
    if pack is None:
        raise Unprocessable(_no_pack(app, fact))
    return pack


def _no_pack(app: App, fact: PaymentSettled) -> str:
    """Why no pack was found, and what to do about it."""
    if not (fact.pack or fact.price_id):
        return f"no pack named: the event has none in {fact.pack_field}; {CREDIT_MANUALLY}"
    named = f"pack {fact.pack!r}" if fact.pack else f"pack for price {fact.price_id!r}"
    return f"no {named}: the catalog of {app.slug} has {', '.join(app.packs) or 'no packs'}; {MEND}"
