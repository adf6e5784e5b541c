"""The cases of cases/README.md: what happened, and the right balance, in every order and in both payload shapes."""

from __future__ import annotations

import json
import random
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from jobs import maintenance
from models.catalog import catalog
from tests.plans.stories.runner import settle
from tests.support import emptied
from tests.support.cast import balance, deliver, event_states
from tests.support.deep import times

pytestmark = [pytest.mark.usefixtures("db"), pytest.mark.deep]
CASES = Path(__file__).parent / "cases"
APP, ORDERS = "lab", times(12, 5)
Object = dict[str, Any]


@pytest.fixture(autouse=True)
def lab(db: str) -> None:
    catalog.use(catalog.load(CASES, {}))


@pytest.mark.parametrize("is_new", [True, False], ids=["since-basil", "before-basil"])
@pytest.mark.parametrize("name", sorted(path.stem for path in CASES.glob("*.json")))
def test_a_case_comes_to_its_right_balance_in_every_order(name: str, is_new: bool) -> None:
    case = json.loads((CASES / f"{name}.json").read_text())
    now = datetime.fromtimestamp(case["now"], timezone.utc)
    told = case["events"] if is_new else [before_basil(event) for event in case["events"]]
    seed = random.randrange(10**6)
    for number in range(seed, seed + ORDERS):
        dice = random.Random(number)
        order = told * 2 if number > seed else told
        order = dice.sample(order, len(order)) if number > seed else order
        emptied.empty()
        for event in order:
            deliver(APP, event, now=now)
        for at in (now, now + timedelta(hours=2)):
            settle(at, APP)
            said = f"{case['what']} Order {number} at {at}: {event_states(APP)}"
            assert balance(case["customer"], APP) == case["right"]["balance"], said
        assert [check for check in maintenance.check_books(now=now) if not check.ok] == [], number


# --- the same events in the shape before basil


def before_basil(event: Object) -> Object:
    """The event as an endpoint of an older API version gets it."""
    writers = {"subscription": _subscription, "invoice": _invoice}
    thing = event["data"]["object"]
    written = writers.get(thing["object"], dict)(thing)
    return {**event, "api_version": "2024-06-20", "data": {**event["data"], "object": written}}


def _subscription(thing: Object) -> Object:
    items = [{name: value for name, value in item.items() if "period" not in name} for item in thing["items"]["data"]]
    first = thing["items"]["data"][0]
    period = {name: first[name] for name in ("current_period_start", "current_period_end")}
    rest = {name: value for name, value in thing.items() if name != "billing_mode"}
    return {**rest, **period, "items": {**thing["items"], "data": items}}


def _invoice(thing: Object) -> Object:
    rest = {name: value for name, value in thing.items() if name != "parent"}
    details = thing["parent"]["subscription_details"]
    lines = {**thing["lines"], "data": [_line(line) for line in thing["lines"]["data"]]}
    is_paid = {"paid": thing["status"] == "paid", "lines": lines}
    return {**rest, **is_paid, "subscription": details["subscription"], "subscription_details": details}


def _line(line: Object) -> Object:
    kind = line["parent"]["type"]
    details = line["parent"][kind]
    rest = {name: value for name, value in line.items() if name not in ("parent", "pricing")}
    of = {name: details[name] for name in ("subscription", "subscription_item", "proration", "proration_details")}
    is_item = kind == "invoice_item_details"
    price = {"id": line["pricing"]["price_details"]["price"], "object": "price"}
    return {**rest, **of, "type": "invoiceitem" if is_item else "subscription", "price": price}
