"""An app of the stories, as its customers, its payment provider and its operator see it."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from types import SimpleNamespace
from typing import Any

from tests.support.providers.sandboxes import Provider
from tests.support.scrip_api import Scrip
from tests.support.waiting import wait_until
from tests.system.journeys import journey

IDS = re.compile(r"(_[0-9a-f]{24})\b")


@contextmanager
def a_shop(system: Scrip, app: str) -> Iterator[Shop]:
    """The stories of an app, after which the books add up."""
    shop = Shop(system, app)
    yield shop
    shop.end_plans()
    assert system.is_clean()


def about(events: list[dict[str, Any]], customer: str, was: str = "original") -> list[dict[str, Any]]:
    """The events as they would be of another customer, and another subscription."""
    text = IDS.sub(rf"\g<1>{customer}", json.dumps(events)).replace(f'"{was}"', f'"{customer}"')
    copies: list[dict[str, Any]] = json.loads(text)
    return copies


def _yearly(minor: int) -> dict[str, Any]:
    data = {"currency": "usd", "unit_amount": minor, "product_data": {"name": "a year"}}
    return {"price_data": {**data, "recurring": {"interval": "year"}}}


def _period_end(subscription: dict[str, Any]) -> int:
    """In either shape."""
    return int(subscription.get("current_period_end") or subscription["items"]["data"][0]["current_period_end"])


def _is_prorated(line: dict[str, Any]) -> bool:
    parent = line.get("parent") or {}
    return bool(line.get("proration") or (parent.get("subscription_item_details") or {}).get("proration"))


class Shop:
    """One app of a Scrip, and its customers at the provider."""

    def __init__(self, system: Scrip, app: str) -> None:
        self.system, self.app = system, app
        self.provider = Provider(SimpleNamespace(url=system.sandbox_url()))  # the one that runs there
        self.v1 = self.provider.stripe(app).v1

    # --- what a customer does

    def open(self, customer: str, **what: Any) -> dict[str, Any]:
        """Ask for a checkout."""
        return journey.checkout(self.system, customer, app=self.app, **what)

    def pay(self, checkout: dict[str, Any], how: str = "pay", **more: str) -> Any:
        """Pay on the checkout's page; returns its session."""
        id_ = checkout["url"].rpartition("/")[2]
        answer = self.provider.pay(id_, how, **more)
        assert answer.status_code == 303, answer.text
        return self.v1.checkout.sessions.retrieve(id_)

    def buy(self, customer: str, **what: Any) -> Any:
        """Open a checkout, pay, and wait until it is known; returns the session."""
        session = self.pay(self.open(customer, **what))
        self.quiet()
        return session

    def subscribe(self, customer: str, plan: str, *, trial_days: int = 0, year_minor: int = 0) -> str:
        """Buy a plan on a page that was made elsewhere, by the month or for a year; returns the subscription."""
        named = {"app": self.app, "customer": customer, "plan": plan}
        page = self.v1.checkout.sessions.create(
            {
                "mode": "subscription",
                "line_items": [_yearly(year_minor) if year_minor else {"price": f"{self.app}_{plan}"}],
                "client_reference_id": customer,
                "metadata": named,
                "subscription_data": {"metadata": named, **({"trial_period_days": trial_days} if trial_days else {})},
                "success_url": "http://localhost:9/ok",
            }
        )
        return str(self.pay({"url": page.url}).subscription)

    # --- what happens at the provider

    def press(self, action: str, id_: str, amount: str | None = None) -> Any:
        """Press a button of the portal; returns what came of it."""
        asked = {"action": action, "id": id_, **({"amount": amount} if amount else {})}
        return self.provider.control(self.app, **asked)["done"]

    def do(self, action: str, id_: str, amount: str | None = None) -> Any:
        """Press a button, and wait until it is known."""
        done = self.press(action, id_, amount)
        self.quiet()
        return done

    def change_plan(self, subscription: str, plan: str, proration: str = "none") -> None:
        """The subscription is of another plan from now on."""
        self._change_price(subscription, f"{self.app}_{plan}", proration)

    def change_to_a_year(self, subscription: str, minor: int) -> None:
        """The subscription is paid for by the year from now on; what is left of the month is given back."""
        price = self.v1.prices.create(_yearly(minor)["price_data"])
        self._change_price(subscription, price.id, "always_invoice")

    def _change_price(self, subscription: str, price: str, proration: str) -> None:
        item = self.v1.subscriptions.retrieve(subscription).to_dict()["items"]["data"][0]["id"]
        changed = {"items": [{"id": item, "price": price}], "proration_behavior": proration}
        self.v1.subscriptions.update(subscription, changed)

    def told_of(self, subscription: str) -> list[dict[str, Any]]:
        """All events so far that name whose subscription it is, or an invoice of it, oldest first."""
        named = [self.v1.subscriptions.retrieve(subscription).customer, *(it.id for it in self.invoices(subscription))]
        listed = [it.to_dict(for_json=True) for it in self.v1.events.list({"limit": 100}).auto_paging_iter()]
        return [it for it in reversed(listed) if any(id_ in json.dumps(it) for id_ in named)]

    def tell(self, *events: dict[str, Any]) -> None:
        """Send events of our own making, each when the one before is known."""
        for event in events:
            assert self.system.webhook(event, app=self.app) == 200
            self.quiet()

    def deliver(self, mode: str, **more: Any) -> None:
        """How events go out from now on."""
        self.provider.control(self.app, deliver=mode, **more)

    def charge_of(self, session: Any) -> str:
        """The charge of a paid session."""
        return str(self.v1.payment_intents.retrieve(session.payment_intent).latest_charge)

    def invoices(self, subscription: str) -> list[Any]:
        """A subscription's invoices, oldest first."""
        return list(reversed(self.v1.invoices.list({"subscription": subscription, "limit": 100}).data))

    def share(self, subscription: str, units: int) -> int:
        """The share of the units for the time from the last change of the plan to the end of its month."""
        lines = [line.to_dict() for invoice in self.invoices(subscription) for line in invoice.lines.data]
        changed = [line["period"] for line in lines if line["amount"] > 0 and _is_prorated(line)][-1]
        month = next(line["period"] for line in lines if line["amount"] > 0 and not _is_prorated(line))
        return units * (changed["end"] - changed["start"]) // (month["end"] - month["start"])

    def charge_of_invoice(self, invoice: str) -> str:
        """The charge that paid an invoice."""
        (paid,) = self.v1.invoice_payments.list({"invoice": invoice}).data
        return str(self.v1.payment_intents.retrieve(paid.payment.payment_intent).latest_charge)

    # --- time

    def move_clock(self, text: str) -> None:
        """Move the clock, and wait until the provider has done what became due."""
        self.system.post("/v1/sandbox/clock", {"advance": text}, app=self.app, status=200)
        wait_until(self._is_up_to_date)

    def pass_time(self, text: str) -> None:
        """Move the clock, and wait until what became due at the provider is known."""
        self.move_clock(text)
        self.quiet()

    def end_plans(self) -> None:
        """Have nobody's plan go on, so that months of the next story are billed to nobody else."""
        listed = list(self.v1.subscriptions.list({"limit": 100}).auto_paging_iter())
        for it in (it for it in listed if it.status != "canceled"):
            self.v1.subscriptions.cancel(it.id)
        self.quiet()

    def _is_up_to_date(self) -> bool:
        self.system.work()
        now = self.now().timestamp()
        running = [it.to_dict() for it in self.v1.subscriptions.list({"limit": 100}).auto_paging_iter()]
        ends = [_period_end(it) for it in running if it["status"] != "canceled"]
        pages = self.v1.checkout.sessions.list({"limit": 100, "status": "open"}).data
        return all(end > now for end in [*ends, *(page.expires_at for page in pages)])

    def now(self) -> datetime:
        """What time it is in the sandbox."""
        return journey.moment(self.get("/v1/customers/nobody/balance")["as_of"])

    def quiet(self) -> None:
        """Wait until each event was sent, and none waits to be applied."""
        wait_until(self._is_quiet)

    def _is_quiet(self) -> bool:
        self.system.work()
        with closing(sqlite3.connect(self.system.folder / "sandbox.db")) as known:
            unsent = "SELECT 1 FROM event WHERE account = ? AND state = 'waiting' LIMIT 1"
            if known.execute(unsent, [self.app]).fetchall():
                return False
        return not self.get("/v1/events?state=pending&limit=1")["events"]

    def run(self, job: str) -> None:
        """Have a schedule's job done now."""
        self.system.post(f"/v1/runs/{job}", {}, app=self.app, status=200)

    # --- what Scrip says

    def get(self, path: str) -> Any:
        """What a GET is answered with."""
        return self.system.get(path, app=self.app)

    def balance(self, customer: str) -> int:
        """The book balance."""
        return self.system.balance(customer, app=self.app)

    def entries(self, customer: str) -> list[tuple[str, int]]:
        """(type, amount), oldest first."""
        found = self.get(f"/v1/customers/{customer}/entries?limit=200")["entries"]
        return [(it["type"], it["amount"]) for it in reversed(found)]

    def payments(self, customer: str) -> list[dict[str, Any]]:
        """The customer's payments, oldest first."""
        found = self.get(f"/v1/customers/{customer}/payments?limit=200")["payments"]
        return list(reversed(found))

    def payment(self, customer: str) -> dict[str, Any]:
        """The customer's only payment."""
        (found,) = self.payments(customer)
        return found

    def refund(self, payment: int, id_: str, amount: str | None = None, status: int = 202) -> Any:
        """Refund a payment from our side, and wait until its webhook has come."""
        body = {"id": id_, "reason": "sorry", **({"amount": amount} if amount else {})}
        answer = self.system.call("POST", f"/v1/payments/{payment}/refund", body, app=self.app)
        assert answer.status_code == status, answer.text
        self.quiet()
        return answer.json()
