"""The parameters that each call of Stripe's API accepts; any other is refused, as Stripe does.

Parameters are written as paths: `items[].price_data.currency`; `metadata.*` accepts any key. A call refuses Stripe's
parameters that the sandbox does not implement too: an ignored parameter would look as if it had worked.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sandbox.store.account import Refused
from sandbox.store.store import Thing

EVERYWHERE = frozenset({"expand[]"})
LIST = "limit starting_after ending_before created created.gt created.gte created.lt created.lte"
# A price that an item creates is one of an existing product; a line of a checkout can create the product too.
ITEM_PRICE = "currency unit_amount product recurring.interval recurring.interval_count tax_behavior"
PRICE_DATA = f"{ITEM_PRICE} product_data.name product_data.metadata.*"


def below(prefix: str, names: str) -> str:
    """The paths with a prefix: `below("items[]", "id price")` is "items[].id items[].price"."""
    return " ".join(f"{prefix}.{name}" for name in names.split())


ITEM = f"id price quantity deleted metadata.* {below('price_data', ITEM_PRICE)}"
CHECKOUT = " ".join(
    (
        "mode success_url cancel_url client_reference_id customer customer_email customer_creation locale expires_at",
        "allow_promotion_codes payment_method_collection metadata.* automatic_tax.enabled",
        "customer_update.address customer_update.name",
        below("line_items[]", "price quantity " + below("price_data", PRICE_DATA)),
        "payment_intent_data.metadata.* payment_intent_data.description",
        "invoice_creation.enabled invoice_creation.invoice_data.metadata.* invoice_creation.invoice_data.description",
        "subscription_data.metadata.* subscription_data.description subscription_data.trial_period_days",
        "subscription_data.trial_settings.end_behavior.missing_payment_method",
    )
)
CUSTOMER = "email name description phone preferred_locales[] metadata.*"
CANCELLATION = "cancellation_details.comment cancellation_details.feedback"
UPDATE = " ".join(
    (
        below("items[]", ITEM),
        "proration_behavior proration_date payment_behavior billing_cycle_anchor trial_end metadata.*",
        "cancel_at_period_end cancel_at pause_collection.behavior pause_collection.resumes_at",
        CANCELLATION,
    )
)
PREVIEW = "customer subscription " + below(
    "subscription_details",
    f"{below('items[]', ITEM)} proration_behavior proration_date billing_cycle_anchor trial_end",
)
PHASE_ITEM = "price quantity " + below("price_data", ITEM_PRICE)
SCHEDULE = "end_behavior proration_behavior metadata.* " + below(
    "phases[]",
    f"{below('items[]', PHASE_ITEM)} start_date end_date duration.interval duration.interval_count"
    " proration_behavior metadata.*",
)
CREDIT_NOTE = (
    "invoice amount memo reason metadata.* refund_amount credit_amount out_of_band_amount"
    " refunds[].refund refunds[].amount_refunded refunds[].type"
    f" {below('lines[]', 'type invoice_line_item amount quantity unit_amount description')}"
)


def check(params: Thing, accepted: str) -> None:
    """Raises Refused for the first parameter that is not one of the accepted paths."""
    paths = EVERYWHERE.union(accepted.split())
    for path, name in _paths(params):
        if not _is_accepted(path, paths):
            raise Refused(f"Received unknown parameter: {name}", code="parameter_unknown", param=name)


def _is_accepted(path: str, paths: frozenset[str]) -> bool:
    """Whether the path, or one below it (`pause_collection=` empties it), is accepted."""
    inner, _, last = path.rpartition(".")
    if path in paths or f"{inner}.*" in paths or (not inner and last in paths):
        return True
    return any(known.startswith((f"{path}.", f"{path}[")) for known in paths)


def _paths(tree: Any, path: str = "", name: str = "") -> Iterator[tuple[str, str]]:
    """The paths of all values, each as it is compared (`items[].price`) and as it was sent (`items[0][price]`)."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from _paths(value, f"{path}.{key}" if path else key, f"{name}[{key}]" if name else key)
    elif isinstance(tree, list):
        for number, value in enumerate(tree):
            yield from _paths(value, f"{path}[]", f"{name}[{number}]")
    else:
        yield path, name
