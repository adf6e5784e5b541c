"""`manage.py sandbox`: be the payment provider.

Exit codes: 1 where the running sandbox or Scrip refuses or does not answer, 2 for a call that is wrong in itself.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import click

from commands import http
from commands.options import known_app
from models import durations
from models.catalog import catalog
from sandbox import address, signing
from sandbox.control import purchases
from settings import SANDBOX_WEBHOOK_SECRET, settings


def _action(ctx: click.Context, param: click.Parameter, name: str) -> str:
    """An action of the portal."""
    from sandbox.control.actions import ACTIONS

    if name not in ACTIONS:
        raise click.BadParameter(f"there is no action {name!r}; there are {', '.join(ACTIONS)}")
    return name


def _duration(ctx: click.Context, param: click.Parameter, text: str) -> str:
    """A duration, with or without a plus before it."""
    if text.startswith("-"):
        raise click.BadParameter(f"the clock never goes back: {text!r}")
    try:
        if not durations.parse(text.removeprefix("+")):
            raise click.BadParameter(f"the clock moves forward, by 1s at least: {text!r}")
    except ValueError as reason:
        raise click.BadParameter(f"{text!r} {reason}") from None
    return text.removeprefix("+")


PRORATIONS = click.Choice(["create_prorations", "always_invoice", "none"])
PROVIDERS = click.Choice(["stripe", "paypal"])
FILE = click.Path(exists=True, dir_okay=False, readable=True, path_type=Path)
PATIENCE_SECONDS = 15.0


@click.group("sandbox", short_help="Sign and send events as the payment provider, move the clock.")
def command() -> None:
    """What only a sandbox has: events signed as the provider signs them, and a clock that can be moved."""
    if not settings.sandbox:
        raise click.ClickException("this is no sandbox: DATABASE_URL is set and SCRIP_SANDBOX is not 1")


@command.command("sign")
@click.argument("provider", type=PROVIDERS)
@click.argument("file", type=FILE)
@click.option("--app", required=True, callback=known_app, help="The app whose receiver will get it.")
def sign(provider: str, file: Path, app: str) -> None:
    """Print, as JSON, the headers that make the bytes of FILE a genuine event of PROVIDER."""
    click.echo(json.dumps(_headers(provider, app, file.read_bytes())))


@command.command("send")
@click.argument("provider", type=PROVIDERS)
@click.argument("file", required=False, type=FILE)
@click.option("--app", required=True, callback=known_app, help="The app whose receiver gets it.")
@click.option("--customer", help="Without FILE: who has paid.")
@click.option("--pack", help="Without FILE: for which pack of the catalog.")
@click.option("--quantity", default=1, show_default=True, type=click.IntRange(min=1), help="Without FILE: how many.")
@click.option("--wait/--no-wait", default=True, show_default=True, help="Wait until the workers have applied it.")
@click.option("--times", default=1, show_default=True, type=click.IntRange(1, 1000), help="Send it as often as this.")
def send(
    provider: str,
    file: Path | None,
    app: str,
    customer: str | None,
    pack: str | None,
    quantity: int,
    times: int,
    wait: bool,
) -> None:
    """Sign an event and send it to the running Scrip: the bytes of FILE, or a paid checkout of a pack.

    Exit code 1 if it is refused, if it ends dead, or if nobody applies it in time.

    For example: sandbox send stripe --app clash-ai --customer ada --pack minutes_30
    """
    body = file.read_bytes() if file else _purchase(provider, app, customer, pack, quantity)
    for _ in range(times):
        headers = _headers(provider, app, body)
        status, answer = http.send("POST", f"/webhooks/{provider}/{app}", body=body, headers=headers)
        click.echo(f"{status} {json.dumps(answer) if isinstance(answer, dict) else answer}")
        if status >= 400:
            raise click.exceptions.Exit(1)
    if wait:
        _tell_what_became_of(json.loads(body)["id"], app)  # the receiver takes nothing that has none


def _tell_what_became_of(event_id: str, app: str) -> None:
    event = _applied(event_id, app)
    if event is None:
        raise click.ClickException(f"still pending after {PATIENCE_SECONDS:.0f} s: do the workers run?")
    click.echo(f"{event['state']}: {event['error']}" if event["error"] else event["state"])
    if event["state"] == "dead":
        raise click.exceptions.Exit(1)


def _applied(event_id: str, app: str) -> dict[str, Any] | None:
    """The event once it is no longer pending; None if that takes too long."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    headers = {"Authorization": f"Bearer sk_sandbox_{app}"}
    while time.monotonic() < deadline:
        status, answer = http.send("GET", "/v1/events?limit=200", headers=headers)
        found = answer["events"] if status == 200 else []
        event: dict[str, Any] | None = next((event for event in found if event["event_id"] == event_id), None)
        if event and event["state"] != "pending":
            return event
        time.sleep(0.02)
    return None


def _headers(provider: str, app: str, body: bytes) -> dict[str, str]:
    """What makes the body a genuine event for the app's receiver."""
    if provider == "stripe":
        return signing.stripe_headers(body, _secret(app))
    from sandbox.paypal import ca

    return ca.paypal_headers(body)


def _purchase(provider: str, app: str, customer: str | None, pack: str | None, quantity: int) -> bytes:
    if not (customer and pack):
        raise click.UsageError("give a FILE, or --customer and --pack")
    known = catalog.current()[app]
    if pack not in known.packs:
        raise click.BadParameter(f"{app} sells {', '.join(known.packs) or 'no packs'}", param_hint="--pack")
    if provider == "stripe":
        return json.dumps(purchases.paid_checkout(known, customer, pack, quantity=quantity)).encode()
    if quantity != 1:
        raise click.UsageError("a PayPal order that is none of our checkouts is for one pack; buy more by a checkout")
    return json.dumps(purchases.paid_capture(known, customer, pack)).encode()


def _secret(app: str) -> str:
    """The secret that the app's receiver takes; an app with secrets of its own takes only those."""
    own = catalog.current()[app].stripe.webhook_secrets
    return own[0] if own else SANDBOX_WEBHOOK_SECRET


@command.command("clock", context_settings={"ignore_unknown_options": True})
@click.argument("advance", callback=_duration)
def clock(advance: str) -> None:
    """Move the sandbox's clock forward by ADVANCE, such as 31d, 10m or +2h. It never goes back."""
    app = next(iter(catalog.current())).slug
    headers = {"Authorization": f"Bearer sk_sandbox_{app}", "Content-Type": "application/json"}
    body = json.dumps({"advance": advance}).encode()
    status, answer = http.send("POST", "/v1/sandbox/clock", body=body, headers=headers)
    if status >= 400:
        raise click.ClickException(answer["detail"] if isinstance(answer, dict) else str(answer))
    http.echo(answer)


@command.command("deliver")
@click.argument("mode", type=click.Choice(["normal", "late", "twice", "shuffled", "swallow"]))
@click.option("--app", required=True, callback=known_app, help="The app whose events are meant.")
@click.option("--late-seconds", type=click.FloatRange(0, 86400), help="With late: how late.")
@click.option("--shape", type=click.Choice(["new", "old"]), help="Stripe's objects: today's, or before basil.")
def deliver(mode: str, app: str, late_seconds: float | None, shape: str | None) -> None:
    """How the payment provider sends its events from now on."""
    if late_seconds is not None and mode != "late":
        raise click.UsageError(f"--late-seconds is for late, not for {mode}")
    given = {"late_seconds": late_seconds, "shape": shape}
    _control(app, deliver=mode, **{name: value for name, value in given.items() if value is not None})


@command.command("do")
@click.argument("action", callback=_action)
@click.argument("id_", metavar="ID")
@click.option("--app", required=True, callback=known_app, help="The app whose account it is in.")
@click.option("--amount", help="A part of it, such as 4.99; all of it if not given.")
@click.option("--price", help="With change-price: the id of the price that it has from now on.")
@click.option("--plan", help="With change-plan: the plan of the catalog that it has from now on.")
@click.option("--proration", type=PRORATIONS, help="With change-price and change-plan; else create_prorations.")
def do(action: str, id_: str, app: str, **said: str | None) -> None:
    """Let ACTION happen to ID at the payment provider, as the buttons of its portal do.

    \b
    ch_...  refund, refund-pending, refund-that-fails, inquiry, dispute
    re_...  refund-arrives, refund-fails
    du_...  escalate, close-inquiry, win, lose
    sub_... cancel, cancel-at-period-end, keep, pause, resume, fail-next, change-plan, change-price
    in_...  pay-invoice, void-invoice, uncollectible-invoice
    cs_...  transfer-arrives, transfer-fails
    PayPal  echeck-arrives, echeck-bounces, paypal-refund, paypal-reverse, paypal-dispute, paypal-win, paypal-lose
    """
    _control(app, action=action, id=id_, **{name: value for name, value in said.items() if value})


def _control(app: str, **asked: object) -> None:
    url = address.known_url(settings)
    if url is None:
        raise click.ClickException("the sandbox's payment provider has not run yet; start Scrip with: make run")
    body = json.dumps({"app": app, **asked}).encode()
    status, answer = http.send("POST", "/control", body=body, base=url, headers={"Content-Type": "application/json"})
    if status >= 400:
        raise click.ClickException(_refusal(status, answer, f"{url}/portal/{app}"))
    http.echo(answer)


def _refusal(status: int, answer: Any, portal: str) -> str:
    """Why the provider refuses, in one line; where the ids are to be found, if it does not know one."""
    said = str(answer["error"]) if isinstance(answer, dict) and "error" in answer else f"{status} {answer}"
    return f"{said}; {portal} shows what there is" if status == 404 else said
