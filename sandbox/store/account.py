"""One app's account at the sandbox's providers, at one time: its objects and the events about them."""

from __future__ import annotations

import json
import random
import secrets
import time
from datetime import datetime, timezone
from typing import Any

from sandbox.store.shapes import previous_attributes, rendered
from sandbox.store.store import Store, Thing

STRIPE_API_VERSIONS = {"new": "2026-10-28.endive", "old": "2024-06-20"}
DELIVERIES = ("normal", "late", "twice", "shuffled", "swallow")
SHUFFLED_SECONDS = 3.0


class Refused(Exception):
    """The provider's API rejects a call. `status` is HTTP's; `code` and `param` are the provider's.

    `hint` is shown on the sandbox's pages: what to do now.
    """

    def __init__(
        self, message: str, *, status: int = 400, code: str | None = None, param: str | None = None, hint: str = ""
    ) -> None:
        super().__init__(message)
        self.message, self.status, self.code, self.param, self.hint = message, status, code, param, hint


class Account:
    """The account `name` at the sandbox time `moment`. Use it inside one transaction of the store.

    `url`: the sandbox's address, for the pages that objects link to.
    """

    def __init__(self, store: Store, name: str, moment: datetime, url: str = "") -> None:
        self.store, self.name, self.moment, self.url = store, name, moment, url
        self.now = int(moment.timestamp())
        self.ways = store.ways(name)

    def save(self, thing: Thing, kind: str | None = None) -> Thing:
        """Save an object. `kind` is required for PayPal objects, which have no `object` field."""
        self.store.save(self.name, kind or thing["object"], thing, thing.get("created", self.now))
        return thing

    def get(self, kind: str, id_: Any) -> Thing | None:
        """An object, or None."""
        return self.store.find(self.name, kind, str(id_))

    def need(self, kind: str, id_: Any, param: str = "id") -> Thing:
        """An object. Raises Refused with 404, as Stripe does."""
        thing = self.get(kind, id_)
        if thing is None:
            what = kind.rpartition(".")[2].replace("_", " ")
            message = f"No such {what}: '{id_}'"
            raise Refused(message, status=404, code="resource_missing", param=param)
        return thing

    def each(self, kind: str, **equal: Any) -> list[Thing]:
        """The objects of a kind whose fields have these values, the newest first. A value of None matches any."""
        fields = {name: value for name, value in equal.items() if value is not None}
        found = self.store.each(self.name, kind)
        return [thing for thing in found if all(thing.get(name) == value for name, value in fields.items())]

    def emit(self, type_: str, thing: Thing, before: Thing | None = None) -> None:
        """Emit a Stripe event with the object's present state.

        `before`: the object before the change, for `previous_attributes`.
        """
        data: Thing = {"object": rendered(thing, self.ways.shape)}
        if before is not None:
            data["previous_attributes"] = previous_attributes(rendered(before, self.ways.shape), data["object"])
        event = {
            "id": new_id("evt"),
            "object": "event",
            "api_version": STRIPE_API_VERSIONS[self.ways.shape],
            "created": self.now,
            "data": data,
            "livemode": False,
            "pending_webhooks": 1,
            "request": {"id": None, "idempotency_key": None},
            "type": type_,
        }
        self._post("stripe", type_, event)

    def emit_paypal(self, type_: str, resource_type: str, resource: Thing, summary: str) -> None:
        """Emit a PayPal event with the resource's present state."""
        event = {
            "id": f"WH-{secrets.token_hex(9).upper()}-{secrets.token_hex(9).upper()}",
            "event_version": "1.0",
            "create_time": written(self.moment),
            "resource_type": resource_type,
            "resource_version": "2.0",
            "event_type": type_,
            "summary": summary,
            "resource": rendered(resource),
            "links": [],
        }
        self._post("paypal", type_, event)

    def emit_if_changed(self, type_: str, thing: Thing, before: Thing) -> None:
        """Emit a Stripe event with `previous_attributes`, if the object differs from what it was before."""
        if rendered(thing, self.ways.shape) != rendered(before, self.ways.shape):
            self.emit(type_, thing, before)

    def _post(self, provider: str, type_: str, event: Thing) -> None:
        """Store the event for delivery, according to the account's delivery mode."""
        wall, deliver = time.time(), self.ways.deliver
        delay = {"late": self.ways.late_seconds, "shuffled": random.uniform(0, SHUFFLED_SECONDS)}.get(deliver, 0.0)
        state = "swallowed" if deliver == "swallow" else "waiting"
        copies = 2 if deliver == "twice" else 1
        self.store.events.add(
            *(self.name, provider, event["id"], type_),
            created=self.now,
            body=json.dumps(event),
            state=state,
            due_at=wall + delay,
            copies=copies,
        )


def new_id(prefix: str) -> str:
    """A random id in Stripe's format."""
    return f"{prefix}_{secrets.token_hex(12)}"


def written(moment: datetime) -> str:
    """A time in PayPal's format."""
    return moment.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
