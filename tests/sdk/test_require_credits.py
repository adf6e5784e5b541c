"""`require_credits` against a running Scrip: held before, taken after success and only then."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import flask
import pytest
from flask.testing import FlaskClient
from flask.views import MethodView

from scrip_client import InsufficientCredits, NotCaptured, Scrip, Unavailable, current_hold, require_credits
from tests.support.peers.proxy import Proxy, proxy
from tests.support.running import Running


@pytest.fixture
def scrip(system: Running) -> Scrip:
    return Scrip(system.url, "sk_sandbox_songs")


@pytest.fixture
def ada(scrip: Scrip) -> str:
    """A customer of this test alone, with 10 credits."""
    customer = f"ada {uuid.uuid4().hex}"
    scrip.adjust(customer, 10, "a gift", type="bonus")
    return customer


@pytest.fixture
def man(system: Running) -> Iterator[Proxy]:
    with proxy(system.url) as found:
        yield found


def taken(scrip: Scrip, customer: str) -> list[int]:
    """The customer's deductions, newest first."""
    return [entry["amount"] for entry in scrip.entries(customer, type="deduction")]


def state(scrip: Scrip, customer: str) -> tuple[int, int]:
    """(balance, held)."""
    balance = scrip.balance(customer)
    return balance["balance"], balance["held"]


def test_fifty_at_once_on_a_balance_of_ten_are_ten(system: Running, scrip: Scrip, ada: str) -> None:
    done: list[int] = []

    @require_credits(scrip, units=1, customer=ada)
    def sing(number: int) -> str:
        done.append(number)
        return "la"

    def attempt(number: int) -> str:
        try:
            return sing(number)
        except InsufficientCredits:
            return "402"

    with ThreadPoolExecutor(50) as pool:
        results = list(pool.map(attempt, range(50)))
    assert (results.count("la"), results.count("402"), len(done)) == (10, 40, 10)
    assert taken(scrip, ada) == [-1] * 10
    assert state(scrip, ada) == (0, 0)
    assert system.is_clean()


def test_the_work_is_not_begun_where_there_is_too_little(scrip: Scrip, ada: str) -> None:
    @require_credits(scrip, rate="song_generation", customer=ada)
    def sing() -> None:
        raise AssertionError("must not run")

    with pytest.raises(InsufficientCredits) as short:
        sing()
    assert (short.value.balance, short.value.required) == (10, 25)


def test_units_are_held_while_the_work_runs_and_taken_after_it(scrip: Scrip, ada: str) -> None:
    @require_credits(
        scrip,
        rate="beat_generation",
        customer=lambda who, **_: who,
        reason="A beat",
        metadata=lambda who, bpm: {"bpm": bpm},
    )
    def beat(who: str, bpm: int) -> tuple[int, int]:
        """Makes a beat."""
        return state(scrip, who)

    assert beat(ada, bpm=90) == (10, 5)
    assert state(scrip, ada) == (5, 0)
    (entry,) = scrip.entries(ada, type="deduction")
    assert entry["reason"] == "A beat"
    assert entry["metadata"].items() >= {"bpm": 90, "rate": "beat_generation", "quantity": 1}.items()
    assert scrip.stats(ada)["by_rate"] == {"beat_generation": 5}
    assert (beat.__name__, beat.__doc__) == ("beat", "Makes a beat.")


@pytest.mark.parametrize("failure", [ValueError("no"), KeyboardInterrupt()])
def test_work_that_raises_takes_nothing(scrip: Scrip, ada: str, failure: BaseException) -> None:
    @require_credits(scrip, units=4, customer=ada)
    def sing() -> None:
        raise failure

    with pytest.raises(type(failure)):
        sing()
    assert state(scrip, ada) == (10, 0)
    assert taken(scrip, ada) == []


def test_how_much_may_be_a_function_of_the_call(scrip: Scrip, ada: str) -> None:
    @require_credits(scrip, rate="lyrics_analysis", quantity=lambda lines: len(lines), customer=lambda lines: ada)
    def analyse(lines: list[str]) -> int:
        return len(lines)

    @require_credits(scrip, units=lambda cached: 0 if cached else 3, customer=lambda cached: ada)
    def look_up(cached: bool) -> bool:
        return cached

    assert analyse(["a", "b", "c"]) == 3
    assert look_up(True)
    assert taken(scrip, ada) == [-6]
    assert not look_up(False)
    assert taken(scrip, ada) == [-3, -6]


@pytest.mark.parametrize(("used", "left"), [(2, 8), (0, 10), (5, 5), (9, 1), (10, 0)])
def test_the_work_says_what_it_really_cost(scrip: Scrip, ada: str, used: int, left: int) -> None:
    @require_credits(scrip, units=5, customer=ada)
    def sing() -> None:
        current_hold().use(used)

    sing()
    assert state(scrip, ada) == (left, 0)


def test_a_quantity_that_was_used_is_priced_by_its_rate(scrip: Scrip, ada: str) -> None:
    with scrip.reserve(ada, rate="lyrics_analysis", quantity=1) as hold:
        assert current_hold() is hold
        hold.use(quantity=3)
    assert (hold.state, hold.units, hold.taken, hold.shortfall, hold.balance) == ("captured", 2, 6, 0, 4)
    with pytest.raises(LookupError):
        current_hold()


def test_work_that_cost_more_than_there_is_takes_what_there_is(scrip: Scrip, ada: str) -> None:
    with scrip.reserve(ada, 4) as hold:
        scrip.charge(ada, 1)
        hold.use(15)
    assert (hold.taken, hold.shortfall, hold.balance) == (9, 6, 0)
    assert taken(scrip, ada) == [-9, -1]


def test_a_hold_that_expired_under_the_work_is_charged_after_it(scrip: Scrip, ada: str, man: Proxy) -> None:
    with Scrip(man.url, "sk_sandbox_songs").reserve(ada, 4, reason="Song") as hold:
        scrip.release(hold.id)
        man.answer("/capture", 409, {"title": "Closed", "status": 409, "state": "expired"})
    assert (hold.taken, hold.balance) == (4, 6)
    hold.state = "held"
    hold.capture()
    (entry,) = scrip.entries(ada, type="deduction")
    assert (entry["amount"], entry["reason"], entry["key"]) == (-4, "Song", f"charge:{hold.id}")


@pytest.mark.parametrize("on", ["/v1/holds", "/capture"])
def test_answers_that_are_lost_take_once(scrip: Scrip, man: Proxy, ada: str, on: str) -> None:
    @require_credits(Scrip(man.url, "sk_sandbox_songs"), units=4, customer=ada)
    def sing() -> str:
        return "la"

    man.will("drop", "busy", "drop", on=on)
    assert sing() == "la"
    assert not man.misdeeds
    assert taken(scrip, ada) == [-4]
    assert state(scrip, ada) == (6, 0)


def test_a_capture_that_went_through_though_its_answers_were_lost_is_recognised(
    scrip: Scrip, man: Proxy, ada: str
) -> None:
    hold = Scrip(man.url, "sk_sandbox_songs").reserve(ada, 4)
    hold.open()
    hold.use(15)
    scrip.capture(hold.id, 10)
    hold.capture()
    assert (hold.taken, hold.shortfall) == (10, 5)


def test_work_whose_units_cannot_be_taken_now_is_not_lost(scrip: Scrip, man: Proxy, ada: str, monkeypatch: Any) -> None:
    monkeypatch.setattr("scrip_client.reservation.CAPTURE_PATIENCE_SECONDS", 0.0)

    @require_credits(Scrip(man.url, "sk_sandbox_songs"), units=4, customer=ada)
    def sing() -> str:
        return "la"

    man.will("html", on="/capture")
    with pytest.raises(NotCaptured) as lost:
        sing()
    assert (lost.value.result, state(scrip, ada)) == ("la", (10, 4))
    lost.value.reservation.capture()
    assert state(scrip, ada) == (6, 0)


def test_a_release_that_fails_hides_no_error_and_takes_nothing(scrip: Scrip, man: Proxy, ada: str) -> None:
    man.will("html", on="/release")
    with pytest.raises(ZeroDivisionError), Scrip(man.url, "sk_sandbox_songs", patience=0).reserve(ada, 4):
        raise ZeroDivisionError
    assert not man.misdeeds
    assert state(scrip, ada) == (10, 4)


def test_a_coroutine_is_paid_for_like_a_function(scrip: Scrip, ada: str) -> None:
    @require_credits(scrip, units=4, customer=ada)
    async def sing(fails: bool) -> str:
        await asyncio.sleep(0)
        if fails:
            raise ValueError
        current_hold().use(3)
        return "la"

    async def both() -> list[Any]:
        return await asyncio.gather(sing(False), sing(True), return_exceptions=True)

    with ThreadPoolExecutor(1) as pool:  # the browser's tests leave an event loop running in this thread
        song, error = pool.submit(asyncio.run, both()).result()
    assert (song, type(error)) == ("la", ValueError)
    assert taken(scrip, ada) == [-3]
    assert state(scrip, ada) == (7, 0)


def test_what_cannot_work_is_refused_where_it_is_written(scrip: Scrip) -> None:
    with pytest.raises(ValueError, match="give either units"):
        require_credits(scrip, customer="ada")
    with pytest.raises(ValueError, match="quantity requires a rate"):
        require_credits(scrip, units=1, quantity=2)
    with pytest.raises(TypeError, match="generator"):

        @require_credits(scrip, units=1, customer="ada")
        def sing() -> Iterator[str]:
            yield "la"

    @require_credits(scrip, units=1)
    def hum() -> None:
        raise AssertionError("must not run")

    with pytest.raises(ValueError, match="the customer is missing"):
        hum()


@pytest.fixture
def web(scrip: Scrip, ada: str) -> FlaskClient:
    """An app whose views cost 4 credits each."""
    app = flask.Flask("shop")

    @app.before_request
    def log_in() -> None:
        flask.g.customer = ada

    paid = require_credits(lambda: scrip, units=4)

    @app.post("/songs/<kind>")
    @paid
    def songs(kind: str) -> Any:
        answers: dict[str, Any] = {
            "good": {"song": "la"},
            "made": ({"song": "la"}, 201, {"Location": "/1"}),
            "headers": ("la", {"X-Song": "1"}),
            "bad": ({"error": "no such key"}, 400),
            "text": ("sorry", "500 INTERNAL SERVER ERROR"),
            "response": flask.Response("busy", 503),
            "both": (flask.Response("busy", 503), {"X-Song": "1"}),
            "nothing": None,
        }
        if kind == "abort":
            flask.abort(404)
        return answers[kind]

    @app.post("/helper")
    def helper() -> str:
        count = require_credits(scrip, units=4)(lambda: ("words", 512))
        return count()[0]

    class Beats(MethodView):
        @paid
        def post(self) -> tuple[str, int]:
            return "sorry", 500

    app.add_url_rule("/beats", view_func=Beats.as_view("beats"))
    return app.test_client()


@pytest.mark.parametrize("kind", ["good", "made", "headers"])
def test_a_view_that_succeeds_is_paid(web: FlaskClient, scrip: Scrip, ada: str, kind: str) -> None:
    assert web.post(f"/songs/{kind}").status_code in (200, 201)
    assert taken(scrip, ada) == [-4]


@pytest.mark.parametrize(
    ("kind", "status"),
    [("bad", 400), ("text", 500), ("response", 503), ("both", 503), ("nothing", 500), ("abort", 404), ("oops", 500)],
)
def test_a_view_that_fails_is_not_paid(web: FlaskClient, scrip: Scrip, ada: str, kind: str, status: int) -> None:
    assert web.post(f"/songs/{kind}").status_code == status
    assert state(scrip, ada) == (10, 0)
    assert taken(scrip, ada) == []


def test_a_method_of_a_view_is_a_view(web: FlaskClient, scrip: Scrip, ada: str) -> None:
    assert web.post("/beats").status_code == 500
    assert state(scrip, ada) == (10, 0)


def test_a_helper_within_a_request_may_return_what_looks_like_an_answer(
    web: FlaskClient, scrip: Scrip, ada: str
) -> None:
    assert web.post("/helper").text == "words"
    assert taken(scrip, ada) == [-4]


def test_a_view_answers_402_with_a_problem(web: FlaskClient, scrip: Scrip, ada: str) -> None:
    scrip.charge(ada, 7)
    answer = web.post("/songs/good")
    assert (answer.status_code, answer.content_type) == (402, "application/problem+json")
    problem = answer.get_json()
    assert problem["type"] == "/problems/insufficient-balance"
    assert (problem["status"], problem["balance"], problem["required"]) == (402, 3, 4)
    assert state(scrip, ada) == (3, 0)


def test_an_app_may_answer_in_its_own_way(web: FlaskClient, scrip: Scrip, ada: str) -> None:
    scrip.charge(ada, 7)
    web.application.register_error_handler(
        InsufficientCredits, lambda error: (f"buy {error.required - error.balance} more", 402)
    )
    assert web.post("/songs/good").text == "buy 1 more"


def test_a_view_answers_503_while_scrip_is_away(ada: str) -> None:
    app = flask.Flask("shop")
    away = Scrip("http://127.0.0.1:9", "key", patience=0)
    app.add_url_rule("/", view_func=require_credits(away, units=1, customer=ada)(lambda: "la"))
    answer = app.test_client().get("/")
    assert (answer.status_code, answer.content_type) == (503, "application/problem+json")
    assert answer.headers["Retry-After"] == "5"
    with pytest.raises(Unavailable):
        away.balance(ada)
