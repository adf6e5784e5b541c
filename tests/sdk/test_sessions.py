"""The Python client around sessions and what was bought, against a running Scrip."""

from __future__ import annotations

import uuid

import pytest

from scrip_client import Conflict, CooldownActive, Forbidden, InsufficientCredits, Invalid, NotFound, Scrip
from tests.support.running import Running
from tests.support.waiting import wait_until


@pytest.fixture
def therapy(system: Running) -> Scrip:
    return Scrip(system.url, "sk_sandbox_voice-therapy")


@pytest.fixture
def echomind(system: Running) -> Scrip:
    return Scrip(system.url, "sk_sandbox_echomind")


@pytest.fixture
def ada() -> str:
    """A customer of this test alone."""
    return f"ada-{uuid.uuid4().hex}"


def test_a_session_is_started_kept_alive_and_ended(therapy: Scrip, ada: str) -> None:
    therapy.update_customer(ada, tier="firewall")
    therapy.adjust(ada, 15, "a gift")
    assert therapy.eligibility(ada)["eligible"]
    started = therapy.start_session(ada, id=ada, metadata={"persona": "calm"})
    assert (started["id"], started["state"], started["available"]) == (ada, "active", 15)
    assert therapy.start_session(ada, id=ada, metadata={"persona": "calm"}) == started
    assert 0 < therapy.heartbeat(ada)["remaining_seconds"] <= 900
    ended = therapy.end_session(ada, seconds=61, summary="Breathing.")
    assert (ended["state"], ended["units"], ended["balance"]) == ("ended", 2, 13)
    assert therapy.end_session(ada) == ended
    assert therapy.session(ada)["summary"] == "Breathing."
    assert [session["id"] for session in therapy.sessions(ada, state="ended")] == [ada]
    with pytest.raises(Conflict):
        therapy.heartbeat(ada)


def test_why_a_session_may_not_start_is_an_error_of_its_own(therapy: Scrip, ada: str) -> None:
    with pytest.raises(Forbidden):
        therapy.start_session(ada)
    therapy.update_customer(ada, tier="firewall")
    with pytest.raises(InsufficientCredits) as short:
        therapy.start_session(ada)
    assert short.value.fields["reasons"] == ["balance"]
    therapy.adjust(ada, 5, "a gift")
    first = therapy.start_session(ada)
    with pytest.raises(Conflict) as active:
        therapy.start_session(ada)
    assert active.value.fields["session"] == first["id"]
    therapy.end_session(first["id"], seconds=0)
    with pytest.raises(NotFound):
        therapy.session("nothing")


def test_a_cooldown_says_until_when_and_may_be_waited_for(echomind: Scrip, ada: str) -> None:
    free = echomind.start_session(ada)
    assert free["free"]
    ended = echomind.end_session(free["id"])
    echomind.adjust(ada, 1, "a session")
    with pytest.raises(CooldownActive) as cooling:
        echomind.start_session(ada)
    assert cooling.value.eligible_at == ended["cooldown_until"] == echomind.eligibility(ada)["eligible_at"]
    assert 0 < (cooling.value.retry_after or 0) <= 600
    waiting = echomind.start_session(ada, wait=True)
    assert waiting["state"] == "waiting"
    assert echomind.cancel_session(waiting["id"])["state"] == "cancelled"


def test_a_customer_of_an_older_system_has_had_the_free_session(system: Running, ada: str, tmp_path) -> None:
    file = tmp_path / "old.csv"
    file.write_text(f"customer,units,free sessions used\n{ada},1,1\n")
    assert system.manage("import", "balances", "echomind", str(file)).returncode == 0
    started = Scrip(system.url, "sk_sandbox_echomind").start_session(ada)
    assert (started["free"], started["available"]) == (False, 0)


def test_what_was_bought(system: Running, ada: str) -> None:
    scrip = Scrip(system.url, "sk_sandbox_songs")
    system.manage("sandbox", "send", "stripe", "--app", "songs", "--customer", ada, "--pack", "starter")
    (payment,) = wait_until(lambda: list(scrip.payments(ada)))
    assert (payment["pack"], payment["units"], payment["credit"]) == ("starter", 100, "unredeemed")
    assert payment["money"] == {"amount": "4.99", "currency": "usd"}
    assert scrip.payment(payment["id"])["reference"] == payment["reference"]
    with pytest.raises(NotFound):
        scrip.payment("nothing")


def test_an_activation_key_that_is_none(system: Running) -> None:
    scrip = Scrip(system.url, "sk_sandbox_songs")
    assert scrip.check_activation("no such key")["valid"] is False
    with pytest.raises(Invalid):
        scrip.check_activation("")
