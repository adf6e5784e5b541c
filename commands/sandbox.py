"""`manage.py sandbox`: act as the payment provider.

Exit codes: 1 if the running sandbox or Scrip rejects the request or does not respond, 2 for invalid usage.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import click

from commands.support import http
from commands.support.options import known_app
from models import durations
from models.catalog import catalog
from sandbox import address, signing
from sandbox.control import purchases
from settings import SANDBOX_WEBHOOK_SECRET, settings


def _action(ctx: click.Context, param: click.Parameter, name: str) -> str:
    """Validate an action of the portal."""
    from sandbox.control.actions import ACTIONS

    if name not in ACTIONS:
        raise click.BadParameter(f"unknown action {name!r}; known actions: {', '.join(ACTIONS)}")
    return name


def _duration(ctx: click.Context, param: click.Parameter, text: str) -> str:
    """Validate a duration, with or without a leading plus."""
    if text.startswith("-"):
        raise click.BadParameter(f"the clock cannot move back, got {text!r}")
    try:
        if not durations.parse(text.removeprefix("+")):
            raise click.BadParameter(f"the clock moves by at least 1s, got {text!r}")
    except ValueError as reason:
        raise click.BadParameter(f"{text!r} {reason}") from None
    return text.removeprefix("+")


PRORATIONS = click.Choice(["create_prorations", "always_invoice", "none"])
PROVIDERS = click.Choice(["stripe", "paypal"])
FILE = click.Path(exists=True, dir_okay=False, readable=True, path_type=Path)
PATIENCE_SECONDS = 15.0


@click.group("sandbox", short_help="Act as the payment provider, and move the clock.")
def command() -> None:
    """Sandbox only: sign and send events as the payment provider, and move the clock."""
    if not settings.sandbox:
        raise click.ClickException(
            "this is not a sandbox: set SCRIP_SANDBOX=1, or leave DATABASE_URL and SCRIP_SANDBOX unset"
        )


@command.command("sign")
@click.argument("provider", type=PROVIDERS)
@click.argument("file", type=FILE)
@click.option("--app", required=True, callback=known_app, help="The app that receives the event.")
def sign(provider: str, file: Path, app: str) -> None:
    """Print the headers that sign FILE.

    The headers are printed as JSON. They make FILE a valid event of PROVIDER.
    """
    click.echo(json.dumps(_headers(provider, app, file.read_bytes())))


@command.command("send")
@click.argument("provider", type=PROVIDERS)
@click.argument("file", required=False, type=FILE)
@click.option("--app", required=True, callback=known_app, help="The app that receives the event.")
@click.option("--customer", help="Without FILE: the paying customer.")
@click.option("--pack", help="Without FILE: the pack that was paid.")
@click.option(
    "--quantity", default=1, show_default=True, type=click.IntRange(min=1), help="Without FILE: the number of packs."
)
@click.option(
    "--wait/--no-wait", default=True, show_default=True, help="Wait until the workers have applied the event."
)
@click.option(
    "--times", default=1, show_default=True, type=click.IntRange(1, 1000), help="Send the event this many times."
)
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
    """Sign an event and send it to Scrip.

    The event is FILE, or a paid checkout of a pack.

    Exit code 1 if the event is rejected, becomes dead, or is not applied in time.

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
        raise click.ClickException(f"still pending after {PATIENCE_SECONDS:.0f} s; check that the workers are running")
    click.echo(f"{event['state']}: {event['error']}" if event["error"] else event["state"])
    if event["state"] == "dead":
        raise click.exceptions.Exit(1)


def _applied(event_id: str, app: str) -> dict[str, Any] | None:
    """Return the event when it is no longer pending; None after `PATIENCE_SECONDS`."""
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
    """The headers that sign the body for the app's receiver."""
    if provider == "stripe":
        return signing.stripe_headers(body, _secret(app))
    from sandbox.paypal import ca

    return ca.paypal_headers(body)


def _purchase(provider: str, app: str, customer: str | None, pack: str | None, quantity: int) -> bytes:
    if not (customer and pack):
        raise click.UsageError("give a FILE, or --customer and --pack")
    known = catalog.current()[app]
    if pack not in known.packs:
        raise click.BadParameter(
            f"unknown pack {pack!r}; {app} sells {', '.join(known.packs) or 'no packs'}", param_hint="--pack"
        )
    if provider == "stripe":
        return json.dumps(purchases.paid_checkout(known, customer, pack, quantity=quantity)).encode()
    if quantity != 1:
        raise click.UsageError("a PayPal order without a Scrip checkout is for one pack; use a checkout for more")
    return json.dumps(purchases.paid_capture(known, customer, pack)).encode()


def _secret(app: str) -> str:
    """The signing secret of the app's receiver: the app's own, if it has one."""
    own = catalog.current()[app].stripe.webhook_secrets
    return own[0] if own else SANDBOX_WEBHOOK_SECRET


@command.command("clock", context_settings={"ignore_unknown_options": True})
@click.argument("advance", callback=_duration)
def clock(advance: str) -> None:
    """Move the sandbox clock forward.

    ADVANCE is a duration such as 31d, 10m or +2h. The clock cannot move back.
    """
    app = next(iter(catalog.current())).slug
    headers = {"Authorization": f"Bearer sk_sandbox_{app}", "Content-Type": "application/json"}
    body = json.dumps({"advance": advance}).encode()
    status, answer = http.send("POST", "/v1/sandbox/clock", body=body, headers=headers)
    if status >= 400:
        raise click.ClickException(answer["detail"] if isinstance(answer, dict) else str(answer))
    http.echo(answer)


@command.command("deliver")
@click.argument("mode", type=click.Choice(["normal", "late", "twice", "shuffled", "swallow"]))
@click.option("--app", required=True, callback=known_app, help="The app whose events are affected.")
@click.option("--late-seconds", type=click.FloatRange(0, 86400), help="With late: the delay in seconds.")
@click.option(
    "--shape",
    type=click.Choice(["new", "old"]),
    help="The shape of Stripe's objects: today's (new), or before basil (old).",
)
def deliver(mode: str, app: str, late_seconds: float | None, shape: str | None) -> None:
    """Set how the provider delivers its events.

    The mode applies to new events.
    """
    if late_seconds is not None and mode != "late":
        raise click.UsageError(f"--late-seconds requires the mode late, got {mode}")
    given = {"late_seconds": late_seconds, "shape": shape}
    _control(app, deliver=mode, **{name: value for name, value in given.items() if value is not None})


@command.command("do")
@click.argument("action", callback=_action)
@click.argument("id_", metavar="ID")
@click.option("--app", required=True, callback=known_app, help="The app whose account contains ID.")
@click.option("--amount", help="The amount, such as 4.99; default: all of it.")
@click.option("--price", help="With change-price: the id of the new price.")
@click.option("--plan", help="With change-plan: the key of the new plan.")
@click.option("--proration", type=PRORATIONS, help="With change-price and change-plan; default: create_prorations.")
def do(action: str, id_: str, app: str, **said: str | None) -> None:
    """Perform an action of the provider's portal.

    Performs ACTION on the object ID, like the buttons of the portal.

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
        raise click.ClickException("the sandbox provider has not been started yet; start Scrip with: make run")
    body = json.dumps({"app": app, **asked}).encode()
    status, answer = http.send("POST", "/control", body=body, base=url, headers={"Content-Type": "application/json"})
    if status >= 400:
        raise click.ClickException(_refusal(status, answer, f"{url}/portal/{app}"))
    http.echo(answer)


def _refusal(status: int, answer: Any, portal: str) -> str:
    """The provider's error in one line; for an unknown id, with the page that lists the ids."""
    said = str(answer["error"]) if isinstance(answer, dict) and "error" in answer else f"{status} {answer}"
    return f"{said}; see {portal}" if status == 404 else said
