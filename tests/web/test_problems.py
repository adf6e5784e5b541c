"""Every error is a problem by RFC 9457, and none tells more than it should."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from models import database, errors
from settings import settings
from tests.support.web_calls import KEY, REPORT, problem, send
from web.http import problems


def test_every_error_that_a_request_can_meet_has_a_status_of_its_own_kind():
    unmapped = {
        error
        for error in vars(errors).values()
        if isinstance(error, type)
        and issubclass(error, errors.ScripError)
        and problems._problem_of(error.__new__(error)) is problems.INTERNAL
    }
    assert unmapped == {errors.ScripError, errors.CatalogError, errors.Unprocessable, errors.TooEarly, errors.NotOurs}


def test_kinds_of_problems_have_names_of_their_own():
    assert len({kind.slug for kind in problems.ALL}) == len(problems.ALL)


@pytest.mark.parametrize(
    "path", ["/", "/v1", "/v1/", "/v1/usage/", "/v1//usage", "/v1/nothing", "/static/x", "/v1/usage/a/b"]
)
def test_an_unknown_path_is_404(client, path):
    assert problem(client.get(path, headers=KEY), 404) == "not-found"


@pytest.mark.parametrize(("method", "path"), [("DELETE", "/v1/usage"), ("GET", "/v1/charges"), ("PUT", "/healthz")])
def test_a_method_that_is_not_there_is_405_and_tells_which_are(client, method, path):
    answer = client.open(path, method=method, headers=KEY)
    assert problem(answer, 405) == "method-not-allowed"
    assert "OPTIONS" in answer.headers["Allow"]


def test_head_and_options_are_answered(client):
    head = client.head("/v1/usage", headers=KEY)
    assert (head.status_code, head.data) == (200, b"")
    assert "POST" in client.options("/v1/usage").headers["Allow"]


def test_what_nobody_expected_is_500_without_details(client, monkeypatch):
    def broken(*args: Any, **named: Any) -> None:
        raise RuntimeError("the password is hunter2")

    monkeypatch.setattr("models.usage.reports.list_page", broken)
    answer = client.get("/v1/usage", headers=KEY)
    assert problem(answer, 500) == "internal-error"
    assert "hunter2" not in answer.text
    assert "Traceback" not in answer.text


DATABASE_TROUBLE = (
    psycopg.OperationalError("could not connect"),
    psycopg.InterfaceError("the connection is closed"),
    psycopg.errors.AdminShutdown("terminating connection"),
    psycopg.errors.TooManyConnections("sorry, too many clients already"),
    psycopg.errors.QueryCanceled("canceling statement due to statement timeout"),
    psycopg.errors.DiskFull("no space left"),
    errors.Unavailable("gone"),
)


@pytest.mark.parametrize("error", DATABASE_TROUBLE, ids=lambda error: type(error).__name__)
def test_a_database_in_trouble_is_503_with_a_time_to_come_again(client, monkeypatch, error):
    def broken(*args: Any, **named: Any) -> None:
        raise error

    monkeypatch.setattr("jobs.usage.accept", broken)
    answer = send(client, "/v1/usage", REPORT)
    assert problem(answer, 503) == "unavailable"
    assert int(answer.headers["Retry-After"]) > 0
    assert str(error) not in answer.text


def test_a_statement_that_asks_too_much_is_no_fault_of_the_database(client, monkeypatch):
    def broken(*args: Any, **named: Any) -> None:
        raise psycopg.errors.ProgramLimitExceeded("index row size exceeds maximum")

    monkeypatch.setattr("jobs.usage.accept", broken)
    assert problem(send(client, "/v1/usage", REPORT), 500) == "internal-error"


def test_a_database_that_is_really_away_is_503_and_back_it_serves_again(client):
    assert settings.database_url
    try:
        database.bind("postgresql://nobody@127.0.0.1:1/nothing")
        assert problem(send(client, "/v1/usage", REPORT), 503) == "unavailable"
        assert problem(client.get("/v1/usage", headers=KEY), 503) == "unavailable"
        assert client.get("/healthz").status_code == 200
    finally:
        database.bind(settings.database_url, max_connections=64, application_name="tests")
    assert send(client, "/v1/usage", REPORT).status_code == 202


def test_a_connection_that_was_cut_is_replaced(client):
    send(client, "/v1/usage", REPORT)
    with psycopg.connect(settings.database_url or "", autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'tests'")
    assert send(client, "/v1/usage", {**REPORT, "id": "call-2"}).status_code == 202
    assert client.get("/v1/usage/call-2", headers=KEY).status_code == 200


def test_answers_are_kept_by_nobody_and_taken_for_what_they_say(client):
    for path in ("/v1/usage", "/v1/usage/nothing"):
        answer = client.get(path, headers=KEY)
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
