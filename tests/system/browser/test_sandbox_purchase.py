"""A newcomer without any account buys in a browser: the shop, the sandbox's payment page, the credits."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.support.running import Running
from tests.support.waiting import wait_until


@pytest.fixture
def shop(system: Running, page: Page) -> Page:
    """A page at the sandbox's start, without JavaScript's help."""
    page.goto(system.sandbox_url())
    return page


def choose(page: Page, app: str, customer: str, offer: str) -> None:
    """From the start to the payment page."""
    page.get_by_role("link", name=app, exact=True).click()
    page.get_by_label("Buy as customer").fill(customer)
    page.locator(".card", has=page.get_by_role("heading", name=offer, exact=True)).locator("button.main").click()
    expect(page.get_by_role("note")).to_contain_text("no money moves")


def pay(page: Page, button: str = "Pay") -> None:
    page.get_by_role("button", name=button, exact=True).click()


def shows_balance(page: Page, units: int) -> None:
    """The shop's page looks every two seconds by itself."""
    expect(page.locator("#balance")).to_have_text(f"{units:,}", timeout=30_000)


def test_a_pack_is_bought_and_its_credits_come(system: Running, shop: Page) -> None:
    choose(shop, "Songs", "browser-pack", "100 credits starter")
    expect(shop.get_by_text("4.99 USD").first).to_be_visible()
    pay(shop)
    shows_balance(shop, 100)
    assert system.balance("browser-pack", app="songs") == 100


def test_a_plan_is_bought_and_grants_again_a_month_later(system: Running, shop: Page) -> None:
    choose(shop, "Songs", "browser-plan", "1,000 credits a month pro")
    pay(shop)
    shows_balance(shop, 1000)
    shop.get_by_role("link", name="Scrip sandbox").click()
    shop.get_by_role("button", name="+31 days").click()
    wait_until(lambda: system.balance("browser-plan", app="songs") == 2000)
    shop.goto(f"{system.sandbox_url()}/customer/songs?customer=browser-plan")
    shows_balance(shop, 2000)
    kinds = {entry["type"] for entry in system.get("/v1/customers/browser-plan/entries", app="songs")["entries"]}
    assert kinds == {"subscription_grant"}


def test_a_declined_card_buys_nothing_and_may_be_tried_again(system: Running, shop: Page) -> None:
    choose(shop, "Songs", "browser-declined", "100 credits starter")
    pay(shop, "Card is declined")
    expect(shop.get_by_role("alert")).to_contain_text("declined")
    assert system.balance("browser-declined", app="songs") == 0
    pay(shop)
    shows_balance(shop, 100)


def test_a_promotion_code_that_is_mistyped_is_said_beside_its_field_and_can_be_mended(
    system: Running, shop: Page
) -> None:
    choose(shop, "Songs", "browser-code", "100 credits starter")
    code = shop.get_by_label("Promotion code")
    code.fill("HALV")
    pay(shop)
    expect(shop.get_by_role("alert")).to_contain_text("Unknown promotion code: HALV")
    expect(code).to_be_focused()
    widths = shop.locator("input.wide").evaluate_all("all => new Set(all.map(it => it.offsetWidth)).size")
    assert widths == 1
    code.fill("HALF")
    pay(shop)
    expect(shop.get_by_role("status")).to_contain_text("You paid 2.50 USD for 100 credits.")
    shows_balance(shop, 100)


def test_several_packs_are_bought_at_once(system: Running, shop: Page) -> None:
    shop.get_by_role("link", name="Songs", exact=True).click()
    shop.get_by_label("Buy as customer").fill("browser-three")
    card = shop.locator(".card", has_text="100 credits starter")
    card.get_by_label("Quantity").fill("3")
    card.get_by_role("button", name="Buy with Stripe").click()
    pay(shop)
    shows_balance(shop, 300)


def test_who_cancels_is_back_in_the_shop_without_credits(system: Running, shop: Page) -> None:
    choose(shop, "Songs", "browser-cancelled", "100 credits starter")
    pay(shop, "Cancel")
    expect(shop.get_by_role("heading", name="Songs")).to_be_visible()
    expect(shop.get_by_role("status")).to_contain_text("nothing was bought")
    shop.get_by_role("link", name="Continue to payment").click()
    expect(shop.get_by_role("heading", name="Pay Songs")).to_be_visible()
    assert system.balance("browser-cancelled", app="songs") == 0


def test_a_bank_transfer_gives_credits_when_it_arrives(system: Running, shop: Page) -> None:
    choose(shop, "Songs", "browser-transfer", "100 credits starter")
    pay(shop, "Pay later (bank transfer: settles later)")
    expect(shop.get_by_role("heading", name="Ordered, but not paid yet")).to_be_visible()
    expect(shop.locator("#balance")).to_have_text("0")
    shop.goto(f"{system.sandbox_url()}/portal/songs")
    shop.locator(".card", has_text="browser-transfer").get_by_role("button", name="The transfer arrives").click()
    wait_until(lambda: system.balance("browser-transfer", app="songs") == 100)


def test_the_whole_page_fits_a_narrow_screen_and_can_be_used_by_keyboard(system: Running, shop: Page) -> None:
    shop.set_viewport_size({"width": 320, "height": 640})
    choose(shop, "Songs", "browser-narrow-" + "x" * 85, "100 credits starter")
    assert shop.evaluate("document.documentElement.scrollWidth") <= 320
    button = shop.get_by_role("button", name="Pay", exact=True)
    for _ in range(8):
        if button.evaluate("it => it === document.activeElement"):
            break
        shop.keyboard.press("Tab")
    shop.keyboard.press("Enter")
    shows_balance(shop, 100)
    shop.goto(f"{system.sandbox_url()}/portal/songs")
    assert shop.evaluate("document.documentElement.scrollWidth") <= 320


def test_the_sandboxes_time_is_shown(system: Running, shop: Page) -> None:
    text = shop.locator("#sandbox-time").inner_text()
    shown = datetime.strptime(text, "%d %b %Y, %H:%M UTC").replace(tzinfo=timezone.utc)
    told = datetime.fromisoformat(system.get("/v1/customers/nobody/balance")["as_of"].replace("Z", "+00:00"))
    assert abs((told - shown).total_seconds()) < 180


def test_a_pack_is_bought_with_paypal(system: Running, shop: Page) -> None:
    choose(shop, "EchoMind", "browser-paypal", "1 session session")
    expect(shop.get_by_role("heading", name="PayPal")).to_be_visible()
    pay(shop)
    shows_balance(shop, 1)


def test_a_refund_at_the_portal_takes_the_credits_back(system: Running, shop: Page) -> None:
    choose(shop, "AI Services", "browser-refund", "100 credits starter")
    pay(shop)
    shows_balance(shop, 100)
    shop.goto(f"{system.sandbox_url()}/portal/ai-services")
    card = shop.locator(".card", has_text="browser-refund")
    card.get_by_text("Actions", exact=True).click()
    card.get_by_label("Amount", exact=True).fill("400.00")
    shop.keyboard.press("Enter")
    expect(card.get_by_role("alert")).to_contain_text("greater than unrefunded amount")
    expect(card.get_by_label("Amount", exact=True)).to_have_value("400.00")
    expect(card.get_by_role("alert")).to_be_in_viewport()
    card.get_by_label("Amount", exact=True).fill("4.00")
    shop.keyboard.press("Enter")
    wait_until(lambda: system.balance("browser-refund", app="ai-services") == 60)


def test_a_dispute_takes_the_refunds_buttons_away_until_it_is_won(system: Running, shop: Page) -> None:
    choose(shop, "CLASH AI", "browser-dispute", "30 minutes minutes_30")
    pay(shop)
    shows_balance(shop, 30)
    shop.goto(f"{system.sandbox_url()}/portal/clash-ai")
    card = shop.locator("main > .card", has_text="browser-dispute")
    card.get_by_text("Actions", exact=True).click()
    card.get_by_role("button", name="Open a dispute").click()
    expect(card).to_contain_text("Not refundable while the dispute is open")
    expect(card.get_by_role("button", name="Refund", exact=True)).to_have_count(0)
    card.get_by_role("button", name="The seller wins").click()
    card.get_by_text("Actions", exact=True).click()
    expect(card.get_by_role("button", name="Refund", exact=True)).to_be_visible()


def test_a_tier_that_a_pack_needs_is_explained_and_can_be_had(system: Running, shop: Page) -> None:
    shop.get_by_role("link", name="Voice AI Therapy", exact=True).click()
    shop.get_by_label("Buy as customer").fill("browser-tier")
    shop.keyboard.press("Enter")
    card = shop.locator(".card", has_text="15 minutes")
    expect(card).to_contain_text("For customers of the tier “firewall” only. browser-tier has no tier.")
    expect(card.get_by_role("button", name="Buy with Stripe")).to_have_count(0)
    card.get_by_role("button", name="Give browser-tier the tier “firewall”").click()
    card.get_by_role("button", name="Buy with Stripe").click()
    pay(shop)
    shows_balance(shop, 15)


@pytest.mark.parametrize("width", [400, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_fits_its_window_and_shows_where_the_keyboard_is(
    system: Running, page: Page, width: int, scheme: Any
) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    page.emulate_media(color_scheme=scheme)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    url = system.sandbox_url()
    page.goto(f"{url}/shop/songs?customer=browser-{width}-{scheme}")
    page.get_by_role("button", name="Buy with Stripe: starter, 100 credits").click()
    checkout = page.url
    pay(page)
    shows_balance(page, 100)
    paths = (f"{url}{path}" for path in ("/", "/portal", "/shop/songs", "/portal/songs", "/customer/songs", "/nowhere"))
    for address in (checkout, *paths):
        page.goto(address)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, address
        page.keyboard.press("Tab")
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid", address
    assert [it for it in asked if not it.startswith((url, "data:"))] == []
