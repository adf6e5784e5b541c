"""Where the sandbox's providers listen, who knows it, and who waits for them."""

from __future__ import annotations

import json
import socket
from dataclasses import replace

import pytest

from runtime import supervisor
from sandbox import address
from settings import load, settings
from tests.support.running import Running
from tests.support.waiting import wait_until


@pytest.fixture
def mine(tmp_path):
    return load({"SCRIP_DATA_DIR": str(tmp_path)})


def test_the_port_of_the_last_time_is_used_again(mine):
    assert address.known_url(mine) is None
    first = address.choose_url(mine)
    assert address.choose_url(mine) == address.known_url(mine) == first


def test_a_port_that_is_taken_is_left_to_its_owner(mine):
    first = address.choose_url(mine)
    with socket.socket() as taken:
        taken.bind((address.HOST, int(first.rpartition(":")[2])))
        taken.listen()
        assert address.choose_url(mine) != first


def test_a_port_that_was_asked_for_is_used(mine):
    assert address.choose_url(replace(mine, sandbox_port=8099)) == "http://127.0.0.1:8099"


def test_production_has_no_sandbox(tmp_path):
    production = load(
        {"DATABASE_URL": "postgresql://db/scrip", "REDIS_URL": "redis://r", "SCRIP_DATA_DIR": str(tmp_path)}
    )
    assert address.known_url(production) is None
    assert "sandbox" not in [row.name for row in supervisor.table(production)]


def test_the_sandbox_starts_before_what_asks_it(mine):
    names = [row.name for row in supervisor.table(mine)]
    assert names.index("sandbox") < names.index("worker") < names.index("web")


def test_readyz_waits_for_the_sandbox(client, monkeypatch):
    from web import ops

    with socket.socket() as nobody:
        nobody.bind((address.HOST, 0))
        monkeypatch.setattr(
            ops, "settings", replace(settings, sandbox_url=f"http://127.0.0.1:{nobody.getsockname()[1]}")
        )
        answer = client.get("/readyz")
    assert answer.status_code == 503
    assert "payment provider does not respond" in answer.get_json()["detail"]


def test_a_killed_sandbox_comes_back_where_it_was_with_what_it_knew(system: Running):
    url = system.sandbox_url()
    (process,) = system.processes("sandbox.server")
    process.kill()
    wait_until(lambda: [it for it in system.processes("sandbox.server") if it.pid != process.pid])
    wait_until(system.is_ready)
    assert system.sandbox_url() == url
    assert address.answers(url)


def test_commands_reach_the_sandbox(system: Running):
    told = system.manage("sandbox", "deliver", "late", "--late-seconds", "5", "--app", "voice-therapy")
    assert json.loads(told.stdout)["deliver"] == "late"
    assert system.manage("sandbox", "deliver", "normal", "--app", "voice-therapy").returncode == 0
    refused = system.manage("sandbox", "do", "refund", "ch_nothing", "--app", "voice-therapy")
    assert refused.returncode == 1
    assert "No such charge: 'ch_nothing'" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_the_demo_is_a_purchase_at_the_sandbox():
    instance = Running(SCRIP_DEMO="1")
    try:
        instance.start()
        wait_until(lambda: "Buy something in a browser" in (instance.folder / "up.log").read_text())
        assert instance.balance("demo", app="clash-ai") == 27
        shown = (instance.folder / "up.log").read_text()
        assert instance.sandbox_url() in shown
    finally:
        instance.close()
