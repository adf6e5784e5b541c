"""`manage.py sandbox`: 2 for a call that is wrong in itself, 1 for what is refused or away, and one line for each."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from tests.support.running import ROOT, Running
from tests.support.waiting import wait_until


def manage(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`manage.py sandbox …` where nothing runs."""
    env = {name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "REDIS_URL")}
    env.update(SCRIP_DATA_DIR=str(folder), SCRIP_SANDBOX="1", PORT="9")
    command = [sys.executable, "manage.py", "sandbox", *arguments]
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("do", "refund", "ch_1", "--app", "nope"), "unknown app 'nope'; known apps: ai-services, clash-ai"),
        (("do", "dance", "ch_1", "--app", "songs"), "unknown action 'dance'; known actions: transfer-arrives"),
        (("do", "refund", "--app", "songs"), "Missing argument 'ID'"),
        (("do", "refund", "ch_1"), "Missing option '--app'"),
        (("deliver", "sometimes", "--app", "songs"), "'sometimes' is not one of 'normal', 'late'"),
        (("deliver", "late", "--app", "nope"), "unknown app 'nope'"),
        (("deliver", "late", "--late-seconds", "soon", "--app", "songs"), "'soon' is not a valid float range"),
        (
            ("deliver", "twice", "--late-seconds", "5", "--app", "songs"),
            "--late-seconds requires the mode late, got twice",
        ),
        (("clock", "soon"), 'must be a whole number followed by d, h, m or s, such as "30d"'),
        (("clock", "-3d"), "the clock cannot move back, got '-3d'"),
        (("clock", "++1d"), "must be a whole number"),
        (("clock", "+0s"), "the clock moves by at least 1s, got '+0s'"),
        (("clock", "0d"), "the clock moves by at least 1s, got '0d'"),
        (("do", "change-price", "sub_1", "--app", "songs", "--proration", "some"), "'some' is not one of"),
        (("sign", "stripe", "no-such-file.json", "--app", "songs"), "'no-such-file.json' does not exist"),
        (("sign", "stripe", "README.md", "--app", "nope"), "unknown app 'nope'"),
        (("send", "paypal", "no-such-file.json", "--app", "songs"), "'no-such-file.json' does not exist"),
        (("send", "cash", "README.md", "--app", "songs"), "'cash' is not one of 'stripe', 'paypal'"),
        (("send", "stripe", "--app", "songs"), "give a FILE, or --customer and --pack"),
        (
            ("send", "stripe", "--app", "songs", "--customer", "a", "--pack", "b"),
            "unknown pack 'b'; songs sells starter, popular",
        ),
        (("send", "stripe", "--app", "nope", "--customer", "a", "--pack", "b"), "unknown app 'nope'"),
    ],
)
def test_a_wrong_call_is_said_in_one_line_with_exit_code_2(tmp_path: Path, arguments, said) -> None:
    refused = manage(tmp_path, *arguments)
    assert refused.returncode == 2
    assert said in refused.stderr
    assert "--help" in refused.stderr
    assert len(refused.stderr.strip().splitlines()) == 1
    assert refused.stdout == ""


@pytest.mark.parametrize(
    "arguments",
    [
        ("do", "refund", "ch_1", "--app", "songs"),
        ("deliver", "normal", "--app", "songs"),
        ("clock", "+1d"),
        ("send", "stripe", "--app", "songs", "--customer", "a", "--pack", "starter"),
    ],
)
def test_where_nothing_runs_one_line_says_how_to_start_it(tmp_path: Path, arguments) -> None:
    refused = manage(tmp_path, *arguments)
    assert refused.returncode == 1
    assert "start Scrip with: make run" in refused.stderr
    assert len(refused.stderr.strip().splitlines()) == 1


def test_an_id_that_is_not_there_is_refused_with_where_the_ids_are(system: Running) -> None:
    refused = system.manage("sandbox", "do", "refund", "ch_nothing", "--app", "songs")
    assert refused.returncode == 1
    shown = f"Error: No such charge: 'ch_nothing'; see {system.sandbox_url()}/portal/songs\n"
    assert refused.stderr == shown


@pytest.mark.parametrize(
    ("action", "amount", "said"),
    [
        ("refund", "1,50", 'must be a plain decimal such as "9.99"'),
        ("refund", "99", "greater than unrefunded amount"),
        ("refund", "-1", "The amount must be greater than zero, not -1."),
    ],
)
def test_an_amount_that_does_not_do_is_refused(system: Running, action, amount, said) -> None:
    (charge,) = bought(system, f"cli-amount-{amount[:2]}")
    refused = system.manage("sandbox", "do", action, charge, "--app", "clash-ai", "--amount", amount)
    assert refused.returncode == 1
    assert said in refused.stderr


def bought(system: Running, customer: str) -> list[str]:
    """The charge of a pack that the customer bought just now."""
    form = {"customer": customer, "item": "stripe:pack:minutes_30"}
    requests.post(f"{system.sandbox_url()}/shop/clash-ai", data=form, allow_redirects=False, timeout=30)
    sessions = of_stripe(system, "checkout/sessions?limit=1")
    requests.post(f"{system.sandbox_url()}/checkout/{sessions[0]['id']}", data={}, allow_redirects=False, timeout=30)
    return [charge["id"] for charge in of_stripe(system, "charges?limit=1")]


def of_stripe(system: Running, path: str, app: str = "clash-ai") -> list[dict[str, str]]:
    url = f"{system.sandbox_url()}/stripe/v1/{path}"
    found: list[dict[str, str]] = requests.get(url, auth=(f"sk_sandbox_{app}", ""), timeout=30).json()["data"]
    return found


def test_a_refund_and_a_dispute_are_done_from_the_command_line(system: Running) -> None:
    (charge,) = bought(system, "cli-refund")
    wait_until(lambda: system.balance("cli-refund", app="clash-ai") == 30)
    done = json.loads(system.manage("sandbox", "do", "refund", charge, "--app", "clash-ai", "--amount", "1.00").stdout)
    assert (done["done"]["object"], done["done"]["amount"]) == ("refund", 100)
    assert system.manage("sandbox", "do", "dispute", charge, "--app", "clash-ai").returncode == 0
    refused = system.manage("sandbox", "do", "refund", charge, "--app", "clash-ai")
    assert refused.returncode == 1
    assert "has been charged back; cannot issue a refund" in refused.stderr
    wait_until(lambda: system.balance("cli-refund", app="clash-ai") == 0)


def test_a_price_is_changed_and_an_invoice_given_up_from_the_command_line(system: Running) -> None:
    form = {"customer": "cli-plan", "item": "stripe:plan:pro"}
    requests.post(f"{system.sandbox_url()}/shop/songs", data=form, allow_redirects=False, timeout=30)
    page = of_stripe(system, "checkout/sessions?limit=1", "songs")[0]["id"]
    requests.post(f"{system.sandbox_url()}/checkout/{page}", data={}, allow_redirects=False, timeout=30)
    id_ = of_stripe(system, "subscriptions?limit=1", "songs")[0]["id"]
    asked = {"currency": "usd", "unit_amount": 9900, "product_data[name]": "more", "recurring[interval]": "month"}
    prices, key = f"{system.sandbox_url()}/stripe/v1/prices", ("sk_sandbox_songs", "")
    price = requests.post(prices, data=asked, auth=key, timeout=30).json()["id"]
    assert system.manage("sandbox", "do", "fail-next", id_, "--app", "songs").returncode == 0
    change = ("sandbox", "do", "change-price", id_, "--app", "songs")
    assert "The field price is missing" in system.manage(*change).stderr
    done = json.loads(system.manage(*change, "--price", price, "--proration", "always_invoice").stdout)["done"]
    assert (done["items"]["data"][0]["price"]["id"], done["status"]) == (price, "past_due")
    given_up = system.manage("sandbox", "do", "void-invoice", done["latest_invoice"], "--app", "songs")
    assert json.loads(given_up.stdout)["done"]["status"] == "void"
    assert system.manage("sandbox", "do", "cancel", id_, "--app", "songs").returncode == 0


@pytest.mark.parametrize("body", ["x", "[1]", "{}", '{"id": 5, "type": "x"}'])
def test_a_file_that_is_no_event_is_refused_without_a_traceback(system: Running, tmp_path: Path, body: str) -> None:
    file = tmp_path / "event.json"
    file.write_text(body)
    refused = system.manage("sandbox", "send", "stripe", str(file), "--app", "songs")
    assert refused.returncode == 1
    assert "Traceback" not in refused.stderr
    assert refused.stdout.startswith("400 ")


def test_an_event_that_ends_dead_is_a_failure(system: Running, tmp_path: Path) -> None:
    session = {"id": "cs_cli", "object": "checkout.session", "mode": "payment", "payment_status": "paid"}
    data = {"object": {**session, "metadata": {"app": "songs", "pack": "starter"}}}
    event = {"id": "evt_cli_dead", "type": "checkout.session.completed", "created": 1, "livemode": False, "data": data}
    file = tmp_path / "event.json"
    file.write_text(json.dumps(event))
    failed = system.manage("sandbox", "send", "stripe", str(file), "--app", "songs")
    assert failed.returncode == 1
    assert "dead: " in failed.stdout
