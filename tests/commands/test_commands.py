"""manage.py as a person uses it: real processes, exit codes, JSON, and errors of one line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.running import ROOT, Running
from tests.support.waiting import wait_until


def test_help_names_every_command() -> None:
    shown = subprocess.run([sys.executable, "manage.py", "--help"], cwd=ROOT, capture_output=True, text=True)
    assert shown.returncode == 0
    for name in ("up", "migrate", "check-catalog", "keys", "verify", "replay", "run", "call", "sandbox"):
        assert f"  {name} " in shown.stdout


def test_an_unknown_command_is_said_in_one_line_with_exit_code_2() -> None:
    shown = subprocess.run([sys.executable, "manage.py", "dance"], cwd=ROOT, capture_output=True, text=True)
    assert shown.returncode == 2
    assert "No such command 'dance'" in shown.stderr


def test_a_key_that_is_made_works_until_it_is_revoked(system: Running) -> None:
    made = json.loads(system.manage("keys", "create", "songs", "--scope", "read", "--json").stdout)
    bearer = {"headers": {"Authorization": f"Bearer {made['key']}"}}
    assert system.call("GET", "/v1/catalog", **bearer).json()["app"] == "songs"
    assert system.call("POST", "/v1/charges", {}, **bearer).status_code == 403
    listed = json.loads(system.manage("keys", "list", "songs", "--json").stdout)["keys"]
    (key,) = [key for key in listed if made["key"].startswith(key["prefix"])]
    assert made["key"] not in json.dumps(listed)
    assert system.manage("keys", "revoke", str(key["id"])).returncode == 0
    wait_until(lambda: system.call("GET", "/v1/catalog", **bearer).status_code == 401)


@pytest.mark.parametrize(
    "arguments",
    [
        ("keys", "create", "dance", "--scope", "read"),
        ("keys", "list", "dance"),
        ("verify", "--app", "dance"),
        ("replay", "dance", "--dead"),
        ("reconcile", "dance"),
        ("run", "expire", "--app", "dance"),
        ("import", "balances", "dance", "README.md"),
        ("call", "GET", "/v1/catalog", "--app", "dance"),
        ("sandbox", "do", "refund", "ch_1", "--app", "dance"),
    ],
    ids=" ".join,
)
def test_every_command_refuses_an_app_that_is_none_with_those_there_are(
    arguments: tuple[str, ...], system: Running
) -> None:
    refused = system.manage(*arguments)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "unknown app 'dance'; known apps: ai-services, clash-ai" in refused.stderr.splitlines()[-1]


def test_verify_prints_a_line_a_check(system: Running) -> None:
    shown = system.manage("verify")
    assert shown.returncode == 0
    assert len([line for line in shown.stdout.splitlines() if line.startswith("ok ")]) == 9


def test_a_signed_file_is_a_genuine_event_and_one_byte_more_is_not(system: Running, tmp_path: Path) -> None:
    file = tmp_path / "event.json"
    file.write_text('{"id": "evt_signed", "type": "nothing.used", "created": 1}')
    headers = json.loads(system.manage("sandbox", "sign", "stripe", str(file), "--app", "songs").stdout)
    url = f"{system.url}/webhooks/stripe/songs"
    assert system.http.post(url, data=file.read_bytes(), headers=headers).status_code == 200
    assert system.http.post(url, data=file.read_bytes() + b" ", headers=headers).status_code == 400


def test_a_file_signed_as_paypal_signs_is_genuine_and_one_byte_more_is_not(system: Running, tmp_path: Path) -> None:
    file = tmp_path / "event.json"
    file.write_text('{"id": "WH-signed", "event_type": "nothing.used"}')
    headers = json.loads(system.manage("sandbox", "sign", "paypal", str(file), "--app", "songs").stdout)
    url = f"{system.url}/webhooks/paypal/songs"
    assert system.http.post(url, data=file.read_bytes(), headers=headers).status_code == 200
    assert system.http.post(url, data=file.read_bytes() + b" ", headers=headers).status_code == 400


def test_a_pack_is_bought_by_paypal_too(system: Running) -> None:
    buy = ("sandbox", "send", "paypal", "--app", "clash-ai", "--customer", "payer", "--pack", "minutes_30")
    assert system.manage(*buy, "--times", "2").stdout == '200 {"received": true}\n200 {"received": true}\ndone\n'
    assert system.balance("payer", app="clash-ai") == 30


def test_the_readmes_example_is_true_word_for_word(system: Running) -> None:
    buy = ("sandbox", "send", "stripe", "--app", "clash-ai", "--customer", "readme", "--pack", "minutes_30")
    assert system.manage(*buy).stdout == '200 {"received": true}\ndone\n'
    assert system.balance("readme", app="clash-ai") == 30
    report = '{"id": "readme-1", "customer": "readme", "rate": "call", "quantity": 123}'
    use = ("call", "POST", "/v1/usage", report, "--app", "clash-ai")
    assert json.loads(system.manage(*use).stdout) == {"accepted": 1, "duplicates": 0}
    wait_until(lambda: system.balance("readme", app="clash-ai") == 27)
    assert json.loads(system.manage(*use).stdout) == {"accepted": 0, "duplicates": 1}
    read = system.manage("call", "GET", "/v1/customers/readme/balance", "--app", "clash-ai")
    assert json.loads(read.stdout)["balance"] == 27


def test_a_call_that_is_refused_ends_with_exit_code_1(system: Running) -> None:
    refused = system.manage("call", "GET", "/v1/customers/nobody", "--app", "clash-ai")
    assert refused.returncode == 1
    assert json.loads(refused.stdout)["status"] == 404


def test_a_job_run_by_hand_tells_its_counts(system: Running) -> None:
    assert json.loads(system.manage("run", "expire", "--app", "echomind", "--json").stdout) == {
        "job": "expire",
        "counts": {"lots": 0, "units": 0},
    }


def test_a_dead_event_is_replayed_from_the_command_line(system: Running) -> None:
    bad = {
        "id": "evt_dead",
        "type": "checkout.session.completed",
        "created": 1,
        "livemode": False,
        "data": {"object": {"id": "cs_dead", "mode": "payment", "payment_status": "paid"}},
    }
    assert system.webhook(bad, app="echomind") == 200
    wait_until(lambda: system.get("/v1/events?state=dead", app="echomind")["events"])
    assert json.loads(system.manage("replay", "echomind", "--dead", "--json").stdout) == {"events": 1, "usage": 0}
    (event,) = wait_until(lambda: system.get("/v1/events?state=dead", app="echomind")["events"])
    assert "no customer" in event["error"]


def test_replay_wants_to_know_what() -> None:
    shown = subprocess.run([sys.executable, "manage.py", "replay", "songs"], cwd=ROOT, capture_output=True, text=True)
    assert shown.returncode == 2
    assert "nothing to replay" in shown.stderr


@pytest.mark.parametrize("arguments", [("check-catalog", "--json"), ("check-catalog",)])
def test_the_shipped_catalog_passes_its_check(arguments: tuple[str, ...]) -> None:
    shown = subprocess.run([sys.executable, "manage.py", *arguments], cwd=ROOT, capture_output=True, text=True)
    assert shown.returncode == 0
    assert "voice-therapy" in shown.stdout


def test_a_broken_catalog_is_named_with_file_key_and_reason(tmp_path: Path) -> None:
    (tmp_path / "shop.toml").write_text('name = "Shop"\nunit = "credit"\n[packs.small]\nunits = 0\nprice = 9.99\n')
    command = [sys.executable, "manage.py", "check-catalog", str(tmp_path)]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert shown.returncode == 1
    assert "shop.toml: packs.small.units: must be at least 1, got 0" in shown.stderr
    assert "packs.small.price" in shown.stderr
