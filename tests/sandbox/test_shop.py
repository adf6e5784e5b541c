"""The sandbox's shop before a running Scrip: to whom it sells what, and what it says after each way to pay."""

from __future__ import annotations

import re
import textwrap
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from tests.support.running import ROOT, Running
from tests.support.waiting import wait_until

OPTIONS: dict[str, Any] = {"allow_redirects": False, "timeout": 30}


def shop(system: Running, app: str, customer: str) -> str:
    answer = requests.get(f"{system.sandbox_url()}/shop/{app}", params={"customer": customer}, timeout=30)
    assert answer.status_code == 200
    return answer.text


def begin(system: Running, customer: str, item: str, app: str = "songs", **more: str) -> str:
    """Buy in the shop; returns the payment page."""
    form = {"customer": customer, "item": item, **more}
    answer = requests.post(f"{system.sandbox_url()}/shop/{app}", data=form, **OPTIONS)
    assert answer.status_code == 303, answer.text
    return answer.headers["Location"]


def pay(page: str, how: str, **more: str) -> str:
    """Press a button of the payment page; returns where that leads."""
    return requests.post(page, data={"how": how, **more}, **OPTIONS).headers["Location"]


def comes_to_say(page: str, title: str) -> str:
    """The page once it has the title: events take their time."""

    def looked() -> str | None:
        text = requests.get(page, timeout=30).text
        return text if f"<h1>{title}</h1>" in text else None

    return str(wait_until(looked))


def session_of(page: str) -> str:
    return urlsplit(page).path.rpartition("/")[2]


STRIPE = {"headers": {"Authorization": "Bearer sk_sandbox_songs"}, "timeout": 30}


# --- after paying


def test_who_has_paid_is_thanked_with_what_they_bought(system):
    page = comes_to_say(pay(begin(system, "shop-paid", "stripe:pack:starter"), "pay"), "Thank you, shop-paid")
    assert "You paid 4.99 USD for 100 credits." in page


def test_who_subscribed_is_thanked_too(system):
    page = comes_to_say(pay(begin(system, "shop-plan", "stripe:plan:pro"), "pay"), "Thank you, shop-plan")
    assert "You paid 29.00 USD a month for 1,000 credits a month." in page


@pytest.mark.parametrize(
    ("item", "code", "said"),
    [
        ("pack:starter", "HALF", "You paid 2.50 USD for 100 credits."),
        ("pack:starter", "FREE", "You paid nothing for 100 credits."),
        (
            "plan:pro",
            "HALF",
            "You paid 14.50 USD for the first month of 1,000 credits a month; the price is then 29.00 USD a month.",
        ),
    ],
)
def test_who_had_a_promotion_code_reads_what_was_paid(system, item, code, said):
    customer = f"shop-code-{item[-3:]}-{code}"
    page = comes_to_say(pay(begin(system, customer, f"stripe:{item}"), "pay", code=code), f"Thank you, {customer}")
    assert said in page
    assert "4.99" not in page


def test_a_transfer_with_a_promotion_code_is_for_the_lower_price(system):
    page = comes_to_say(
        pay(begin(system, "shop-later-half", "stripe:pack:starter"), "later", code="HALF"), "Ordered, but not paid yet"
    )
    assert "100 credits for 2.50 USD: the money is on its way" in page


def test_as_many_packs_as_are_wanted_are_bought_at_either_provider(system):
    page = comes_to_say(
        pay(begin(system, "shop-many", "stripe:pack:starter", **{"quantity-starter": "3"}), "pay"),
        "Thank you, shop-many",
    )
    assert "You paid 14.97 USD for 300 credits." in page
    order = begin(system, "shop-many", "paypal:pack:starter", **{"quantity-starter": "2"})
    assert "9.98 USD" in requests.get(order, timeout=30).text


@pytest.mark.parametrize("quantity", ["0", "-1", "10001", "1.5", "x", "9" * 5000])
def test_as_many_packs_as_nobody_may_buy_are_refused(system, quantity):
    form = {"customer": "shop-many", "item": "stripe:pack:starter", "quantity-starter": quantity}
    answer = requests.post(f"{system.sandbox_url()}/shop/songs", data=form, **OPTIONS)
    assert answer.status_code == 400
    assert "The quantity must be a whole number from 1 to 10,000" in answer.text


def test_who_pays_later_is_told_when_the_money_comes_and_that_it_did_not(system):
    checkout = begin(system, "shop-later", "stripe:pack:starter")
    thanks = pay(checkout, "later")
    page = comes_to_say(thanks, "Ordered, but not paid yet")
    assert "100 credits for 4.99 USD: the money is on its way and arrives on" in page
    assert "Thank you" not in page
    asked = {"app": "songs", "action": "transfer-fails", "id": session_of(checkout)}
    assert requests.post(f"{system.sandbox_url()}/control", json=asked, timeout=30).status_code == 200
    page = comes_to_say(thanks, "The transfer failed")
    assert "Back to the shop" in page
    assert 'http-equiv="refresh"' not in page


def test_a_transfer_that_arrives_turns_the_page_into_thanks(system):
    checkout = begin(system, "shop-arrives", "stripe:pack:starter")
    thanks = pay(checkout, "later")
    asked = {"app": "songs", "action": "transfer-arrives", "id": session_of(checkout)}
    assert requests.post(f"{system.sandbox_url()}/control", json=asked, timeout=30).status_code == 200
    comes_to_say(thanks, "Thank you, shop-arrives")


def test_who_comes_back_without_paying_is_not_thanked(system):
    checkout = begin(system, "shop-open", "stripe:pack:starter")
    wrong = f"{system.sandbox_url()}/thanks/songs?customer=shop-open&session={session_of(checkout)}"
    page = comes_to_say(wrong, "Not paid yet")
    assert f'href="/checkout/{session_of(checkout)}"' in page
    url = f"{system.sandbox_url()}/stripe/v1/checkout/sessions/{session_of(checkout)}/expire"
    assert requests.post(url, **STRIPE).status_code == 200
    assert "to start again" in comes_to_say(wrong, "This checkout has expired")


def test_who_cancels_reads_in_the_shop_that_nothing_was_bought(system):
    for item, cancelled in (("stripe:pack:starter", "/checkout/"), ("paypal:pack:starter", "/paypal/approve/")):
        left = pay(begin(system, "shop-left", item), "cancel")
        page = requests.get(left, timeout=30).text
        assert "nothing was bought, and nothing was charged" in page
        assert f'href="{system.sandbox_url()}{cancelled}' in page


@pytest.mark.parametrize(
    ("how", "title"),
    [
        ("COMPLETED", "Thank you, shop-paypal"),
        ("PENDING", "Ordered, but not paid yet"),
        ("DECLINED", "The payment was declined"),
        ("INSTRUMENT", "The payment was declined"),
    ],
)
def test_what_became_of_a_payment_at_paypal_is_said(system, how, title):
    comes_to_say(pay(begin(system, "shop-paypal", "paypal:pack:session", "echomind"), how), title)


def test_a_payment_of_another_app_is_nobodys(system):
    checkout = begin(system, "shop-other", "stripe:pack:starter")
    page = f"{system.sandbox_url()}/thanks/echomind?customer=shop-other&session={session_of(checkout)}"
    comes_to_say(page, "shop-other's balance".replace("'", "&#39;"))


def test_swallowed_events_are_named_as_the_reason_to_wait(system):
    requests.post(f"{system.sandbox_url()}/control", json={"app": "ai-services", "deliver": "swallow"}, timeout=30)
    try:
        thanks = pay(begin(system, "shop-swallowed", "stripe:pack:starter", "ai-services"), "pay")
        page = comes_to_say(thanks, "Thank you, shop-swallowed")
        assert "The credits arrive with the provider's event" in page
        assert "The delivery mode of AI Services is swallow" in page
    finally:
        requests.post(f"{system.sandbox_url()}/control", json={"app": "ai-services", "deliver": "normal"}, timeout=30)


def test_the_documented_plan_by_the_year_with_a_trial_grants_its_first_month(system):
    text = (ROOT / "docs" / "sandbox.md").read_text()
    (example,) = re.findall(r"^ {4}import stripe\n.*?print\(page\.url\)\n", text, re.DOTALL | re.MULTILINE)
    code = (
        textwrap.dedent(example).replace("http://127.0.0.1:PORT", system.sandbox_url()).replace('"ada"', '"shop-year"')
    )
    scope: dict[str, Any] = {}
    exec(code, scope)
    page = scope["page"].url
    assert "Free for 7 days" in requests.get(page, timeout=30).text
    pay(page, "pay")
    wait_until(lambda: system.balance("shop-year", app="songs") == 1000)
    assert system.get("/v1/customers/shop-year", app="songs")["subscription"]["status"] == "trialing"
    # What is left running would begin to pay in the midst of another test, once that moves the clock.
    listed = scope["v1"].subscriptions.list({"limit": 100}).auto_paging_iter()
    [bought] = [it.id for it in listed if it.to_dict()["metadata"].get("customer") == "shop-year"]
    scope["v1"].subscriptions.cancel(bought)
    wait_until(lambda: system.get("/v1/customers/shop-year", app="songs")["subscription"]["status"] == "canceled")


# --- before it


def test_a_plan_without_a_plan_at_paypal_is_sold_through_stripe_and_packs_by_either(system):
    page = shop(system, "songs", "shop-ways")
    assert 'value="stripe:plan:pro"' in page
    assert 'value="paypal:plan:pro"' not in page
    assert "This plan has no plan at PayPal (paypal_plan)." in page
    assert 'name="seats-pro"' in page
    assert page.index('value="stripe:pack:starter"') < page.index('value="paypal:pack:starter"')
    other = shop(system, "echomind", "shop-ways")
    assert other.index('value="paypal:pack:session"') < other.index('value="stripe:pack:session"')


def test_a_tier_that_is_missing_is_explained_before_and_after_the_attempt(system):
    page = shop(system, "voice-therapy", "shop-tier")
    assert "For customers of the tier “firewall” only. shop-tier has no tier." in page
    assert "stripe:pack:voice_15" not in page
    form = {"customer": "shop-tier", "item": "stripe:pack:voice_15"}
    here = f"{system.sandbox_url()}/shop/voice-therapy"
    refused = requests.post(here, data=form, **OPTIONS)
    assert refused.status_code == 400
    assert "is for the tier &#39;firewall&#39;" in refused.text
    assert 'href="/shop/voice-therapy"' in refused.text
    form = {"customer": "shop-tier", "tier": "firewall"}
    back = requests.post(f"{here}/tier", data=form, **OPTIONS).headers["Location"]
    assert parse_qs(urlsplit(back).query) == {"customer": ["shop-tier"]}
    assert "stripe:pack:voice_15" in shop(system, "voice-therapy", "shop-tier")


@pytest.mark.parametrize("item", ["", "stripe", "stripe:pack", "stripe:pack:none", "cash:pack:starter", "stripe:x:y"])
def test_what_the_shop_does_not_sell_is_refused(system, item):
    answer = requests.post(f"{system.sandbox_url()}/shop/songs", data={"customer": "a", "item": item}, **OPTIONS)
    assert answer.status_code == 400
    assert 'href="/shop/songs"' in answer.text


# --- what a customer has


def test_the_portal_and_the_customers_page_show_the_balance(system):
    comes_to_say(pay(begin(system, "shop-has", "stripe:pack:starter", "ai-services"), "pay"), "Thank you, shop-has")
    wait_until(lambda: system.balance("shop-has") == 100)
    portal = requests.get(f"{system.sandbox_url()}/portal/ai-services", timeout=30).text
    assert "(balance: 100 credits)" in portal
    page = requests.get(f"{system.sandbox_url()}/customer/ai-services?customer=shop-has", timeout=30).text
    assert '<span id="balance">100</span> credits' in page
    assert "+100" in page
    assert "starter" in page


def test_a_customers_name_may_be_anything(system):
    name = "b ?&#<ü>"
    shown = shop(system, "songs", name)
    assert "b ?&amp;#&lt;ü&gt;" in shown
    thanks = pay(begin(system, name, "stripe:pack:starter"), "pay")
    assert parse_qs(urlsplit(thanks).query)["customer"] == [name]
    comes_to_say(thanks, "Thank you, b ?&amp;#&lt;ü&gt;")
