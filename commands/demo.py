"""`manage.py welcome`: the demo in an empty sandbox, and the first screen."""

from __future__ import annotations

import json
import time
from typing import Any
from urllib.parse import urlsplit

import click

from commands.support import http
from models.catalog import catalog
from sandbox import signing
from sandbox.control import purchases
from settings import SANDBOX_WEBHOOK_SECRET, settings

APP, CUSTOMER, PACK = "clash-ai", "demo", "minutes_30"
PATIENCE_SECONDS = 15.0


@click.command("welcome", hidden=True)
def command() -> None:
    """Run the demo if the sandbox is empty, then print the addresses and keys."""
    if settings.demo and settings.sandbox and APP in catalog.current() and not _has_customers():
        _play()
    _tell()


def _api(method: str, path: str, body: dict[str, Any] | None = None) -> Any:
    headers = {"Authorization": f"Bearer sk_sandbox_{APP}", "Content-Type": "application/json"}
    status, answer = http.send(method, path, body=json.dumps(body).encode() if body else None, headers=headers)
    if status >= 400:
        raise click.ClickException(f"the demo failed: {path} returned {status}: {answer}")
    return answer


def _has_customers() -> bool:
    return bool(_api("GET", "/v1/customers?limit=1")["customers"])


def _play() -> None:
    """One purchase and one call, through the same receivers as in production."""
    _buy()
    bought = _wait_for_balance(lambda balance: balance > 0)
    _api("POST", "/v1/usage", {"id": "demo-call-1", "customer": CUSTOMER, "rate": "call", "quantity": 123})
    left = _wait_for_balance(lambda balance: balance < bought)
    click.echo(
        f"\n  Demo: {CUSTOMER} bought {PACK} in {APP}: {bought} minutes."
        f" A call of 123 s took {bought - left}: {left} left."
    )


def _buy() -> None:
    """Pay on the sandbox's checkout page; if a real Stripe account is set, send a signed event instead."""
    app = catalog.current()[APP]
    place = settings.sandbox_url
    if place is None or app.stripe.secret_key or settings.stripe_secret_key:
        event = json.dumps(purchases.paid_checkout(app, CUSTOMER, PACK)).encode()
        headers = signing.stripe_headers(event, SANDBOX_WEBHOOK_SECRET)
        http.send("POST", f"/webhooks/stripe/{APP}", body=event, headers=headers)
        return
    shop = f"{place}/shop/{APP}"
    asked = {"customer": CUSTOMER, "pack": PACK, "provider": "stripe", "success_url": shop, "cancel_url": shop}
    page = urlsplit(_api("POST", "/v1/checkout", asked)["url"]).path
    http.send("POST", page, body=b"how=pay", base=place)


def _wait_for_balance(reached: Any) -> int:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        balance: int = _api("GET", f"/v1/customers/{CUSTOMER}/balance")["balance"]
        if reached(balance):
            return balance
        if time.monotonic() > deadline:
            raise click.ClickException(
                f"the workers did not apply it within {PATIENCE_SECONDS:.0f} s; see {settings.log_dir}"
            )
        time.sleep(0.02)


def _tell() -> None:
    url = http.base_url()
    lines = [f"Scrip is running at {url}", f"API documentation: {url}/docs   Health: {url}/readyz"]
    if settings.sandbox:
        apps = ", ".join(app.slug for app in catalog.current())
        lines += [
            f"Buy something in a browser: {settings.sandbox_url}  (no money moves)",
            f"Sandbox keys: sk_sandbox_<app> for {apps}",
            f"Stripe signing secret: {SANDBOX_WEBHOOK_SECRET}",
            f"Try it: .venv/bin/python manage.py call GET /v1/customers/{CUSTOMER}/explain --app {APP}",
        ]
    click.echo("\n" + "\n".join(f"  {line}" for line in lines) + "\n")
