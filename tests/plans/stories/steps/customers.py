"""How the customer of a subscription is known, and how that changes."""

from __future__ import annotations

from typing import Any

from tests.plans.stories import prices
from tests.plans.stories.objects import Subscription
from tests.plans.stories.world import NotNow, World

WITH_SESSION = ("session", "session over mapping", "ambiguous but session")
IDENTITIES = (*["metadata"] * 8, *WITH_SESSION, "session over mapping", "mapping", "ambiguous")


def identify(world: World, sub: Subscription, how: str) -> None:
    """ "`metadata.customer` of the latest snapshot; else the checkout session that names this subscription; … else the
    customer behind the provider's customer id, if exactly one is." "An id that stands for two decides nothing."
    """
    if how == "metadata":
        sub.metadata = {"customer": "ada"}
    world.begin(sub, None if how == "ambiguous" else "ada")
    buyers = {"mapping": ["ada"], "session over mapping": ["bo"]}.get(how, ["ada", "bo"] if "ambiguous" in how else [])
    for buyer in buyers:
        _buys_pack(world, buyer)
    world.traits.add(f"known by {how}")
    if how in WITH_SESSION:
        world.traits.add("named by session")


def _buys_pack(world: World, customer: str) -> None:
    number = world.number("pack")
    line = {"id": f"li_{number}", "quantity": 1, "price": {"id": prices.PACK.id}}
    session = _session_object(f"cs_pack_{number}", customer, "paid", mode="payment", payment_intent=f"pi_pack_{number}")
    session |= {"amount_total": 999, "amount_subtotal": 999, "line_items": {"object": "list", "data": [line]}}
    world.report("checkout.session.completed", session)
    world.account.packs[customer] = world.account.packs.get(customer, 0) + prices.PACK_UNITS


def session(world: World, status: str, ending: str = "completed") -> None:
    """The checkout session that made the subscription: always reported where it alone names the customer."""
    is_named = "named by session" in world.traits
    if not is_named and "known by metadata" not in world.traits:
        return
    if is_named or status == "unpaid" or ending != "completed" or world.dice.random() < 0.3:
        made = _session_object("cs_1", "ada", status, mode="subscription", payment_intent=None)
        made |= {"subscription": world.sub.id, "amount_total": 1200, "amount_subtotal": 1200}
        world.report(f"checkout.session.{ending}", made)


def _session_object(name: str, customer: str, status: str, **more: Any) -> dict[str, Any]:
    return {
        "id": name,
        "object": "checkout.session",
        "payment_status": status,
        "status": "complete",
        "currency": "usd",
        "client_reference_id": customer,
        "customer": "cus_1",
        "livemode": False,
        "invoice": None,
        "metadata": {},
        **more,
    }


def moves(world: World) -> None:
    """ "A changed `metadata.customer` moves periods that start after the change." """
    if world.sub.ended_at or "known by metadata" not in world.traits or world.waiting:
        raise NotNow("only its metadata names the customer")
    world.wait()
    after = "bo" if world.sub.metadata["customer"] == "ada" else "ada"
    world.account.customers.append((world.now, after))
    if world.dice.random() < 0.3:
        # Ties in one second: "the chain of `previous_attributes`".
        world.update(metadata={"customer": "cy"})
        world.say("moves to cy by mistake, and in the same second")
    world.update(metadata={"customer": after})
    world.say(f"moves to {after}")
