"""`require_credits`: check first, work, deduct after success and only then."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from scrip_client import flask_answers
from scrip_client.client import Scrip
from scrip_client.errors import NotCaptured, ScripError
from scrip_client.reservation import DEFAULT_EXPIRY_SECONDS, Reservation

F = TypeVar("F", bound=Callable[..., Any])


def require_credits(
    scrip: Scrip | Callable[[], Scrip],
    *,
    customer: str | Callable[..., str] | None = None,
    units: int | Callable[..., int] | None = None,
    rate: str | None = None,
    quantity: int | Callable[..., int] | None = None,
    expires_in: int = DEFAULT_EXPIRY_SECONDS,
    reason: str | None = None,
    metadata: Mapping[str, Any] | Callable[..., Mapping[str, Any]] | None = None,
) -> Callable[[F], F]:
    """A decorator for paid work: a Flask view, a plain function, or an `async def`.

    Each call holds the units, runs, and takes them; parallel calls cannot spend the same units. A call that raises, or
    a view whose answer is 400 or more, takes nothing. Units are `units`, or a `rate` of the catalog and its `quantity`
    (1 if not given). `customer`, `units`, `quantity` and `metadata` may be functions of the call's arguments; if no
    `customer` is given, it is `flask.g.customer`. The body may say what it really cost: `current_hold().use(units)`.

    Raises, when called:
        InsufficientCredits: the work was not begun. Flask answers 402 with it, as problem+json, unless you catch it.
        Unavailable: Scrip cannot be reached, and the work was not begun. Flask answers 503 with it.
        NotCaptured: the work was done, and Scrip cannot be reached.
    """
    if (units is None) == (rate is None):
        raise ValueError("say how much: either units, or a rate and its quantity")
    if units is not None and quantity is not None:
        raise ValueError("a quantity belongs to a rate, not to units")
    terms = {"units": units} if units is not None else {"rate": rate, "quantity": 1 if quantity is None else quantity}
    guard = _Guard(scrip, customer, terms, expires_in, reason, metadata)

    def decorate(function: F) -> F:
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise TypeError(f"{function.__name__} is a generator, which runs after it was called: use reserve() in it")
        wrapped: F = (_asynchronous if inspect.iscoroutinefunction(function) else _synchronous)(guard, function)
        return wrapped

    return decorate


@dataclass(frozen=True, slots=True)
class _Guard:
    """What is reserved for a call, and how."""

    scrip: Scrip | Callable[[], Scrip]
    customer: str | Callable[..., str] | None
    terms: Mapping[str, Any]
    expires_in: int
    reason: str | None
    metadata: Mapping[str, Any] | Callable[..., Mapping[str, Any]] | None

    def reservation(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Reservation:
        """The reservation of one call, not open yet."""

        def said(value: Any) -> Any:
            return value(*args, **kwargs) if callable(value) else value

        customer = flask_answers.customer_of_request() if self.customer is None else said(self.customer)
        if not customer:
            raise ValueError("nobody to charge: give customer=, or set flask.g.customer")
        return (self.scrip() if callable(self.scrip) else self.scrip).reserve(
            customer,
            **{name: said(value) for name, value in self.terms.items()},
            expires_in=self.expires_in,
            reason=self.reason,
            metadata=said(self.metadata),
        )


def _open(hold: Reservation) -> None:
    try:
        hold.open()
    except ScripError as error:
        raise flask_answers.answered(error) from error


def _close(hold: Reservation, result: Any, failed: bool) -> None:
    if failed:
        hold.release()
        return
    try:
        hold.capture()
    except NotCaptured as error:
        error.result = result
        raise


def _synchronous(guard: _Guard, function: Callable[..., Any]) -> Any:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        hold = guard.reservation(args, kwargs)
        _open(hold)
        try:
            with hold.as_current():
                result = function(*args, **kwargs)
        except BaseException:
            hold.release()
            raise
        _close(hold, result, flask_answers.says_failure(wrapper, result))
        return result

    return wrapper


def _asynchronous(guard: _Guard, function: Callable[..., Any]) -> Any:
    """The same for a coroutine: requests to Scrip are made in a thread, so that the loop goes on."""

    @functools.wraps(function)
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        hold = guard.reservation(args, kwargs)
        await asyncio.to_thread(_open, hold)
        try:
            with hold.as_current():
                result = await function(*args, **kwargs)
        except BaseException:
            await asyncio.to_thread(hold.release)
            raise
        await asyncio.to_thread(_close, hold, result, flask_answers.says_failure(wrapper, result))
        return result

    return wrapper
