"""Outgoing webhooks reach no private address: judged when they connect, whatever the name was before."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import pytest

from jobs.outbox import addresses, endpoints, sender
from jobs.outbox.http import Attempt
from models import database
from models.errors import Invalid
from models.outbox import deliveries
from models.outbox.messages import Message, emit
from settings import SettingsError, load
from tests.support.cast import ADA, app
from tests.support.peers.receivers import Receiver, receiving

pytestmark = pytest.mark.usefixtures("db")
PRODUCTION = {"DATABASE_URL": "postgresql://db/scrip", "REDIS_URL": "redis://redis"}

Configure = Callable[..., None]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as it:
        yield it


@pytest.fixture
def configured(monkeypatch: pytest.MonkeyPatch) -> Configure:
    """Have outgoing requests see other settings."""

    def configure(**environ: str) -> None:
        monkeypatch.setattr(addresses, "settings", load(environ))

    return configure


@pytest.fixture
def resolving(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Have a name lead to an address."""
    real = socket.getaddrinfo

    def resolve(name: str, address: str) -> None:
        def getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
            if host == name and kwargs.get("flags") == socket.AI_NUMERICHOST:
                raise socket.gaierror("a name, not an address")
            return real(address if host == name else host, *args, **kwargs)

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)

    return resolve


def post(url: str) -> tuple[int | None, str | None]:
    return Attempt(url, b"{}", {}).run()


def refused(url: str) -> list[str]:
    """The fields that are at fault when an endpoint is made with this URL."""
    with pytest.raises(Invalid) as refusal:
        endpoints.create(app(), {"url": url}, now=datetime.now().astimezone())
    return [field for field, _ in refusal.value.errors]


def test_a_public_name_that_leads_to_this_machine_is_refused_at_connect(
    now: datetime, receiver: Receiver, configured: Configure, resolving: Callable[[str, str], None]
) -> None:
    configured(**PRODUCTION)
    resolving("hooks.example", "127.0.0.1")
    endpoints.create(app(), {"url": f"https://hooks.example:{receiver.port}/hook"}, now=now)
    database.transaction(lambda conn: emit(conn, [Message("ai-services", "lot.expired", ADA, {})], now=now))
    assert sender.deliver_due(now=now) == 1
    ((it,), _) = deliveries.list_page("ai-services")
    assert (it["state"], it["error"]) == ("pending", "not sent: the URL leads to a private address, 127.0.0.1")
    assert receiver.came == []


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "10.1.2.3", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "::1", "fe80::1"]
)
def test_no_private_address_is_connected_to(
    address: str, configured: Configure, resolving: Callable[[str, str], None]
) -> None:
    configured(**PRODUCTION)
    resolving("hooks.example", address)
    for scheme in ("http", "https"):
        status, reason = post(f"{scheme}://hooks.example/hook")
        assert status is None
        assert reason == f"not sent: the URL leads to a private address, {address}"


@pytest.mark.parametrize("allowed", ["hooks.example", "127.0.0.0/8", "other.example, 127.0.0.1"])
def test_what_the_settings_allow_is_reached(
    allowed: str, receiver: Receiver, configured: Configure, resolving: Callable[[str, str], None]
) -> None:
    configured(**PRODUCTION, SCRIP_OUTGOING_ALLOW=allowed)
    resolving("hooks.example", "127.0.0.1")
    assert post(f"http://hooks.example:{receiver.port}/hook") == (204, None)
    assert receiver.came[0][0]["host"] == f"hooks.example:{receiver.port}"


def test_what_the_settings_allow_is_no_more_than_that(
    receiver: Receiver, configured: Configure, resolving: Callable[[str, str], None]
) -> None:
    configured(**PRODUCTION, SCRIP_OUTGOING_ALLOW="other.example,10.0.0.0/8")
    resolving("hooks.example", "127.0.0.1")
    assert post(f"http://hooks.example:{receiver.port}/hook")[0] is None
    assert receiver.came == []


def test_a_sandbox_on_this_machine_reaches_this_machine_and_an_open_one_does_not(
    receiver: Receiver, configured: Configure
) -> None:
    configured()
    assert post(f"http://localhost:{receiver.port}/hook") == (204, None)
    configured(SCRIP_SANDBOX="1", HOST="0.0.0.0")
    assert post(f"http://localhost:{receiver.port}/hook")[0] is None


def test_localhost_is_tried_as_127_0_0_1_where_it_is_another_address_first(
    receiver: Receiver, resolving: Callable[[str, str], None]
) -> None:
    resolving("localhost", "127.0.0.2")
    assert post(f"http://localhost:{receiver.port}/hook") == (204, None)


def test_a_proxy_of_the_environment_is_not_asked(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert post(receiver.url) == (204, None)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "app.example/hook",
        "ftp://app.example/hook",
        "https://",
        "https://user@app.example/hook",
        "https://user:password@app.example/hook",
        "https://@app.example/hook",
        "https://app.example:99999/hook",
        "https://app.example/a hook",
        "https://app.example\\@inside/hook",
        "https://app.example/\nhook",
        "https://10.0.0.1/hook",
        "https://[fd00::1]/hook",
        "https://[::ffff:192.168.1.1]/hook",
        "https://169.254.169.254/latest/meta-data",
        "https://0xa000001/hook",
        "https://167772161/hook",
        "https://app.example/" + "x" * 2000,
    ],
)
def test_a_url_that_can_be_seen_to_be_wrong_is_refused(url: str) -> None:
    assert refused(url) == ["url"]


@pytest.mark.parametrize("url", ["http://app.example/hook", "https://127.0.0.1/hook", "https://localhost/hook"])
def test_outside_the_sandbox_plain_http_and_this_machine_are_refused(url: str, configured: Configure) -> None:
    configured(**PRODUCTION)
    assert refused(url) == ["url"]


def test_good_urls_are_taken(now: datetime, configured: Configure) -> None:
    configured(**PRODUCTION, SCRIP_OUTGOING_ALLOW="10.1.0.0/16,inside")
    for url in ("https://app.example/hook?a=b#c", "https://8.8.8.8:8443/", "https://10.1.2.3/", "HTTPS://inside/"):
        assert endpoints.create(app(), {"url": url}, now=now)[0]["url"] == url


def test_every_unknown_type_is_named(now: datetime) -> None:
    body = {"url": "https://app.example", "events": ["balance.low", "x", "lot.expired", "endpoint.test"]}
    with pytest.raises(Invalid) as refusal:
        endpoints.create(app(), body, now=now)
    assert [field for field, _ in refusal.value.errors] == ["events[1]", "events[3]"]


@pytest.mark.parametrize("value", ["10.0.0.1/8", "999.1.1.1", "http://inside", "a b", "-x", "inside:80", "x..y"])
def test_a_bad_allow_list_is_refused_at_the_start(value: str) -> None:
    with pytest.raises(SettingsError, match=r"^SCRIP_OUTGOING_ALLOW "):
        load({"SCRIP_OUTGOING_ALLOW": f"good.example,{value}"})


def test_an_allow_list_holds_names_addresses_and_networks() -> None:
    allowed = load({**PRODUCTION, "SCRIP_OUTGOING_ALLOW": "Hooks.Internal, 10.1.0.0/16,::1"}).reachable
    assert allowed.hosts == {"hooks.internal"}
    assert [str(network) for network in allowed.networks] == ["10.1.0.0/16", "::1/128"]
    assert load(PRODUCTION).reachable.networks == ()
