"""What the journeys through a running Scrip have in common: buying, the time there, a customer's own token."""

from __future__ import annotations

import time
from datetime import datetime, timezone
from typing import Any

from tests.support.providers.stripe_events import event, paid_session
from tests.support.running import Running
from tests.support.waiting import wait_until


def wall() -> datetime:
    """The time on the wall, which the provider's events carry."""
    return datetime.now(timezone.utc)


def moment(text: str) -> datetime:
    """A time of the API."""
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def sandbox_now(system: Running) -> datetime:
    """What time it is there."""
    return moment(system.get("/v1/customers/nobody/balance")["as_of"])


def advance(system: Running, text: str) -> None:
    """Move the clock."""
    system.post("/v1/sandbox/clock", {"advance": text}, status=200)


def purchase(customer: str, pack: str, app: str) -> dict[str, Any]:
    """The event of a pack that was paid for."""
    number = f"{customer}-{time.monotonic_ns()}"
    paid = paid_session(app, customer, pack, number=number)
    return event("checkout.session.completed", paid, created=wall(), event_id=f"evt_{number}")


def buy(system: Running, customer: str, pack: str, *, app: str) -> dict[str, Any]:
    """Have the provider tell of a pack that the customer paid for."""
    told = purchase(customer, pack, app)
    assert system.webhook(told, app=app) == 200
    return told


def buy_and_wait(system: Running, customer: str, pack: str, *, app: str) -> None:
    """Buy, and see the units come."""
    before = system.balance(customer, app=app)
    buy(system, customer, pack, app=app)
    wait_until(lambda: system.balance(customer, app=app) > before)


def checkout(system: Running, customer: str, *, app: str, status: int = 201, **what: str) -> dict[str, Any]:
    """Ask for a checkout; what it is answered with."""
    body = {"customer": customer, "success_url": "http://localhost:9/ok", "cancel_url": "http://localhost:9/no", **what}
    answered: dict[str, Any] = system.post("/v1/checkout", body, app=app, status=status)
    return answered


def pay_at(page: str, system: Running, how: str = "pay") -> str:
    """Press the button on the provider's page, as a person would; where that leads to."""
    answer = system.http.post(page, data={"how": how}, allow_redirects=False, timeout=30)
    assert answer.status_code == 303, answer.text
    return str(answer.headers["Location"])


def with_token(system: Running, customer: str, path: str, *, app: str, of: str | None = None) -> int:
    """The status of a GET with the token of the customer `of` (absent: the same)."""
    token = system.post(f"/v1/customers/{of or customer}/tokens", {}, app=app)["token"]
    answer = system.http.get(system.url + path, headers={"Authorization": f"Bearer {token}"}, timeout=30)
    return answer.status_code
