"""The sandbox's pages without a Scrip behind them: what they say, how they page, and where their errors lead."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

import pytest
import requests

from sandbox import formatting
from tests.sandbox.test_stripe import APP, asked, bought, charge_of, pass_time, price, subscribed
from tests.support.folders import data_folder
from tests.support.providers.sandboxes import Provider, running_provider


@pytest.fixture
def provider(db: str) -> Iterator[Provider]:
    with data_folder() as folder, running_provider(folder) as running:
        yield running


@pytest.fixture
def v1(provider: Provider) -> Any:
    return provider.stripe(APP, max_network_retries=0).v1


def read(provider: Provider, path: str, status: int = 200) -> str:
    answer = requests.get(provider.url + path, timeout=9)
    assert answer.status_code == status
    return answer.text


def ordered(provider: Provider, value: str, currency: str, description: str, customer: str = "ada") -> str:
    """The path of the page where an order is approved."""
    amount = {"value": value, "currency_code": currency}
    unit = {"amount": amount, "description": description, "custom_id": f"customer={customer}&pack=session"}
    token = {"Authorization": f"Bearer A21-sandbox_{APP}"}
    body = {"intent": "CAPTURE", "purchase_units": [unit]}
    answer = requests.post(f"{provider.url}/paypal/v2/checkout/orders", json=body, headers=token, timeout=9)
    return f"/paypal/approve/{answer.json()['id']}"


# --- words


@pytest.mark.parametrize(
    ("minor", "currency", "said"),
    [
        (499, "usd", "4.99 USD"),
        (123456789, "eur", "1,234,567.89 EUR"),
        (150000, "jpy", "150,000 JPY"),
        (1500, "kwd", "1.500 KWD"),
        (150000, "isk", "1,500 ISK"),
        (150050, "isk", "1,500.50 ISK"),
        (0, "usd", "0.00 USD"),
    ],
)
def test_prices_are_said_with_the_decimals_of_their_currency(minor, currency, said):
    assert formatting.price(minor, currency) == said


@pytest.mark.parametrize(
    ("currency", "minor", "said"),
    [("jpy", 1500, "1,500 JPY"), ("kwd", 1500, "1.500 KWD"), ("isk", 150000, "1,500 ISK")],
)
def test_the_checkout_page_says_what_is_bought_and_its_price(provider, v1, currency, minor, said):
    line = {"price_data": {**price(minor), "currency": currency}, "quantity": 2}
    page = read(provider, f"/checkout/{v1.checkout.sessions.create(asked(line_items=[line])).id}")
    assert "2 × 100 credits" in page
    assert said.replace("1,5", "3,0").replace("1.5", "3.0") in page
    assert "<title>Pay Songs" in page


@pytest.mark.parametrize(
    ("value", "currency", "said"), [("1234.50", "USD", "1,234.50 USD"), ("1500", "JPY", "1,500 JPY")]
)
def test_paypals_page_says_what_is_bought_and_its_price_and_no_ids_of_ours(provider, value, currency, said):
    page = read(provider, ordered(provider, value, currency, "Songs: 100 credits"))
    assert "Songs: 100 credits" in page
    assert said in page
    assert "Pay Songs with PayPal" in page
    assert "customer=" not in page
    assert ">songs<" not in page


def test_a_price_of_the_catalog_is_named_as_people_name_it(provider, v1, monkeypatch):
    from models.catalog import catalog
    from models.catalog.apps import App

    pack = catalog.current()[APP].packs["starter"]
    monkeypatch.setattr(App, "pack_by_stripe_price", lambda app, id_: pack if id_ == "price_1" else None)
    session = v1.checkout.sessions.create(asked(line_items=[{"price": "price_1", "quantity": 1}]))
    assert "Songs: 100 credits" in read(provider, f"/checkout/{session.id}")


@pytest.mark.parametrize(
    ("how", "said"),
    [("pay", "This checkout is paid"), ("later", "on its way"), ("expire", "This checkout has expired")],
)
def test_a_checkout_that_is_over_says_how_and_leads_back(provider, v1, how, said):
    session = v1.checkout.sessions.create(asked())
    v1.checkout.sessions.expire(session.id) if how == "expire" else provider.pay(session.id, how)
    page = read(provider, f"/checkout/{session.id}")
    assert said in page
    assert 'name="how"' not in page
    back = "https://shop.test/" if how == "expire" else f"https://shop.test/thanks?session={session.id}"
    assert f'href="{back}"' in page


# --- the portal


def test_the_portal_shows_payments_page_by_page(provider, v1):
    sessions = [bought(provider, v1) for _ in range(12)]
    charges = [v1.payment_intents.retrieve(session.payment_intent).latest_charge for session in sessions]
    first, second = read(provider, f"/portal/{APP}"), read(provider, f"/portal/{APP}?payments=2")
    assert [charge in first for charge in charges] == [False] * 2 + [True] * 10
    assert [charge in second for charge in charges] == [True] * 2 + [False] * 10
    assert "Page 1 of 2, 12 in total" in first
    assert 'href="?payments=2#payments"' in first
    assert 'href="?payments=1#payments"' in second


@pytest.mark.parametrize("number", ["9", "0", "-1", "x", "9" * 30, ""])
def test_a_page_that_is_not_there_is_the_nearest_that_is(provider, v1, number):
    bought(provider, v1)
    assert "100 credits" in read(provider, f"/portal/{APP}?payments={number}&events={number}")


def test_the_portal_names_the_app_what_was_sold_and_to_whom(provider, v1):
    bought(provider, v1)
    subscribed(provider, v1)
    page = read(provider, f"/portal/{APP}")
    assert "Portal of Songs" in page
    assert f'href="/shop/{APP}"' in page
    assert page.count(f'href="/customer/{APP}?customer=ada"') == 3  # two charges, and a subscription
    assert "29.00 USD every month" in page


def test_a_plans_payment_says_which_month_it_is_for(provider, v1):
    item = subscribed(provider, v1)["items"]["data"][0]
    month = [formatting.day(item[name]) for name in ("current_period_start", "current_period_end")]
    assert f"for {month[0]} to {month[1]}" in read(provider, f"/portal/{APP}")
    pass_time(provider, days=32)
    assert f"for {month[1]} to " in read(provider, f"/portal/{APP}")


def test_the_portal_shows_one_customers_payments_and_subscriptions(provider, v1):
    mine = bought(provider, v1)
    paypal_of_bo = ordered(provider, "5.00", "USD", "A thing", "bo")
    of_bo = [bought(provider, v1, metadata={"customer": "bo"}, payment_intent_data={"metadata": {"customer": "bo"}})]
    of_bo += [bought(provider, v1, "later", metadata={"customer": "bo"})]
    plan = subscribed(provider, v1, metadata={"customer": "bo", "plan": "pro"})
    requests.post(provider.url + paypal_of_bo, data={"how": "COMPLETED"}, allow_redirects=False, timeout=9)
    order = paypal_of_bo.rpartition("/")[2]
    token = {"Authorization": f"Bearer A21-sandbox_{APP}"}
    url = f"{provider.url}/paypal/v2/checkout/orders/{order}/capture"
    capture = requests.post(url, json={}, headers=token, timeout=9).json()["purchase_units"][0]["payments"]["captures"]
    page = read(provider, f"/portal/{APP}?customer=bo")
    assert all(f'id="{id_}"' in page for id_ in (charge_of(v1, of_bo[0]).id, of_bo[1].id, plan.id, capture[0]["id"]))
    assert charge_of(v1, mine).id not in page
    assert 'value="bo"' in page
    assert charge_of(v1, mine).id in read(provider, f"/portal/{APP}")
    assert "No payments of cy." in read(provider, f"/portal/{APP}?customer=cy")


def test_the_pages_of_one_customer_and_their_buttons_stay_with_that_customer(provider, v1):
    for _ in range(11):
        bought(provider, v1)
    page = read(provider, f"/portal/{APP}?customer=ada")
    assert "Page 1 of 2, 11 in total" in page
    assert 'href="?customer=ada&amp;payments=2#payments"' in page
    assert f'action="/portal/{APP}?customer=ada#ch_' in page
    charge = v1.charges.list({"limit": 1}).data[0].id
    form = {"action": "refund", "id": charge, "place": charge}
    answer = requests.post(f"{provider.url}/portal/{APP}?customer=ada", data=form, allow_redirects=False, timeout=9)
    assert answer.headers["Location"] == f"/portal/{APP}?customer=ada#{charge}"


def test_many_buttons_are_a_menu_and_few_are_not(provider, v1):
    bought(provider, v1)
    assert read(provider, f"/portal/{APP}").count('<details class="menu">') == 1
    provider.control(APP, action="dispute", id=v1.charges.list().data[0].id)
    page = read(provider, f"/portal/{APP}")
    assert "<details" not in page
    assert "The seller wins</button>" in page


def test_a_button_leads_back_to_the_page_that_it_was_on(provider, v1):
    session = bought(provider, v1)
    charge = v1.payment_intents.retrieve(session.payment_intent).latest_charge
    here = f"{provider.url}/portal/{APP}"
    form = {"action": "refund", "id": charge, "place": charge}
    options: dict[str, Any] = {"allow_redirects": False, "timeout": 9}
    answer = requests.post(here, data=form, headers={"Referer": f"{here}?payments=2"}, **options)
    assert answer.headers["Location"] == f"/portal/{APP}?payments=2#{charge}"
    form = {"action": "refund-fails", "id": v1.refunds.list().data[0].id, "place": charge}
    answer = requests.post(here, data=form, headers={"Referer": "https://evil.test/portal/songs"}, **options)
    assert answer.headers["Location"] == f"/portal/{APP}#{charge}"


def test_an_event_that_there_is_not_cannot_be_sent_again(provider):
    answer = requests.post(f"{provider.url}/control", json={"app": APP, "send": "evt_none"}, timeout=9)
    assert (answer.status_code, answer.json()["error"]) == (404, "No such event: 'evt_none'")


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ("{", 400, "The body is not JSON: "),
        ("", 400, "The body is not JSON: "),
        ("[]", 400, "The body must be a JSON object"),
        ('{"deliver": "late"}', 400, "app must be the slug of an app."),
        ('{"app": 5}', 400, "app must be the slug of an app."),
        ('{"app": "nope"}', 404, "There is no app 'nope'. There are ai-services,"),
        ('{"app": "songs", "dliver": "late"}', 400, "Unknown field dliver. The fields are app, deliver,"),
        ('{"app": "songs", "action": "refund"}', 400, "id must be the id of an object."),
        ('{"app": "songs", "action": ["refund"], "id": "ch_1"}', 400, "action must be the name of an action."),
        ('{"app": "songs", "late_seconds": "NaN"}', 400, "late_seconds must be a number of seconds"),
        ('{"app": "songs", "deliver": ["late"]}', 400, "deliver must be one of normal, late"),
    ],
)
def test_a_program_that_asks_for_what_there_is_not_is_told_what_is_wrong(provider, body, status, said):
    answer = requests.post(f"{provider.url}/control", data=body, timeout=9)
    assert answer.status_code == status
    assert said in answer.json()["error"]
    assert provider.sandbox.store.accounts() == []


def test_a_program_is_not_shown_the_sandboxs_own_notes(provider, v1):
    done = provider.control(APP, action="fail-next", id=subscribed(provider, v1).id)["done"]
    assert done["object"] == "subscription"
    assert not [name for name in done if name.startswith("_")]


# --- errors


@pytest.mark.parametrize(
    ("amount", "said"),
    [
        ("99.00", "Refund amount (99.00 USD) is greater than unrefunded amount on charge (4.99 USD)"),
        ("-1", "The amount must be greater than zero, not -1."),
        ("1,5", "The amount must be a plain decimal"),
    ],
)
def test_an_amount_that_does_not_do_is_said_at_the_card_it_was_typed_at(provider, v1, amount, said):
    first = v1.payment_intents.retrieve(bought(provider, v1).payment_intent).latest_charge
    for _ in range(10):
        bought(provider, v1)
    here = f"{provider.url}/portal/{APP}?payments=2"
    answer = requests.post(here, data={"action": "refund", "id": first, "amount": amount}, timeout=9)
    assert answer.status_code == 400
    card = answer.text.partition(f'id="{first}"')[2]
    assert said in card
    assert f'value="{amount}" aria-invalid="true" aria-describedby="error-{first}"' in card
    assert f'action="/portal/{APP}?payments=2#{first}"' in card
    assert answer.text.count('role="alert"') == 1


def test_a_refusal_about_what_is_not_on_the_page_is_said_above_it(provider):
    answer = requests.post(f"{provider.url}/portal/{APP}", data={"action": "refund", "id": "ch_none"}, timeout=9)
    assert answer.status_code == 404
    assert "No such charge" in answer.text
    assert "Portal of Songs" in answer.text


def test_a_promotion_code_that_is_not_known_leaves_the_form_as_it_was(provider, v1):
    session = v1.checkout.sessions.create(asked(allow_promotion_codes=True))
    answer = provider.pay(session.id, code="HALV", email="ada@a.test")
    assert answer.status_code == 400
    assert re.search(r'id="code-error">Unknown promotion code: HALV\. The sandbox accepts HALF and FREE\.', answer.text)
    assert 'value="HALV" autofocus aria-invalid="true" aria-describedby="code-error"' in answer.text
    assert 'value="ada@a.test"' in answer.text
    assert provider.pay(session.id, code="half").status_code == 303
    assert v1.checkout.sessions.retrieve(session.id).amount_total == 250


def test_a_code_that_makes_it_free_does_not_stay_where_the_payment_was_refused(provider, v1):
    session = v1.checkout.sessions.create(asked(allow_promotion_codes=True))
    answer = provider.pay(session.id, "later", code="FREE")
    assert answer.status_code == 400
    assert "with a price above zero" in answer.text
    assert 'name="how"' in answer.text
    assert v1.checkout.sessions.retrieve(session.id).amount_total == 499


def test_the_checkout_says_the_price_once_and_adds_up_only_where_there_is_a_sum(provider, v1):
    once = v1.checkout.sessions.create(asked())
    assert read(provider, f"/checkout/{once.id}").count("4.99 USD") == 1
    lines = [{"price_data": price(minor), "quantity": 1} for minor in (499, 100)]
    page = read(provider, f"/checkout/{v1.checkout.sessions.create(asked(line_items=lines)).id}")
    assert [page.count(said) for said in ("4.99 USD", "1.00 USD", "5.99 USD")] == [1, 1, 1]


@pytest.mark.parametrize("referer", [None, "https://evil.test/shop/songs", "//evil.test", "http://[", "x"])
def test_an_error_never_leads_to_another_site(provider, referer):
    headers = {"Referer": referer} if referer else {}
    answer = requests.post(f"{provider.url}/portal/{APP}/send", data={"id": "evt_1"}, headers=headers, timeout=9)
    assert answer.status_code == 404
    assert f'href="/portal/{APP}"' in answer.text
    assert "evil" not in answer.text


def test_an_app_that_there_is_not_is_said_with_those_there_are(provider):
    for path in ("/portal/nope", "/shop/nope", "/customer/nope", "/thanks/nope"):
        page = read(provider, path, 404)
        assert "There is no app “nope”" in page
        assert "songs" in page


@pytest.mark.parametrize("path", ["/checkout/cs_none", "/paypal/approve/none", "/nowhere"])
def test_an_address_without_a_page_says_so(provider, path):
    page = read(provider, path, 404)
    assert "Not found" in page
    assert '<html lang="en">' in page


def test_a_shop_whose_scrip_is_away_says_how_to_start_it(provider):
    assert "Start Scrip with: make run" in read(provider, f"/shop/{APP}", 502)


# --- for everybody


class Controls(HTMLParser):
    """The fields, labels and addresses of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.fields: list[dict[str, str | None]] = []
        self.labelled: set[str | None] = set()
        self.outside: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag in ("input", "select") and given.get("type") != "hidden":
            self.fields.append(given)
        if tag == "label":
            self.labelled.add(given.get("for"))
        if tag in ("script", "img", "iframe", "link") and not (given.get("href") or "").startswith("data:"):
            self.outside.append(tag)


def test_every_field_has_a_label_and_nothing_comes_from_outside(provider, v1):
    bought(provider, v1)
    subscribed(provider, v1)
    session = v1.checkout.sessions.create(asked(allow_promotion_codes=True))
    approve = ordered(provider, "5.00", "USD", "A thing")
    titles = set()
    for path in ("/", "/portal", f"/portal/{APP}", f"/checkout/{session.id}", approve):
        page = read(provider, path)
        controls = Controls(page)
        assert [field for field in controls.fields if field.get("id") not in controls.labelled] == []
        assert controls.outside == []
        assert "url(" not in page
        assert '<html lang="en">' in page
        titles.add(re.search("<title>(.*)</title>", page)[1])  # type: ignore[index]
    assert len(titles) == 5
