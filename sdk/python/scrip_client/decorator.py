"""`require_credits`: hold units, run the function, deduct the units after success only."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from scrip_client import flask_answers
from scrip_client.client import Scrip
from scrip_client.errors import ScripError
from scrip_client.reservation import DEFAULT_EXPIRY_SECONDS, NotCaptured, Reservation

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

    Each call holds the units, runs the function, and captures the hold; parallel calls cannot spend the same units. A
    call that raises, or a view that returns status 400 or more, costs nothing. The amount is `units`, or a `rate` of
    the catalog and its `quantity` (1 by default). `customer`, `units`, `quantity` and `metadata` may be functions of
    the call's arguments; `customer` is `flask.g.customer` by default. The function can set the actual cost with
    `current_hold().use(units)`.

    Raises, when the decorated function is called:
        InsufficientCredits: the function was not run. Flask returns the problem with 402 unless the app catches it.
        Unavailable: Scrip cannot be reached, and the function was not run. Flask returns 503.
        NotCaptured: the function was run, but Scrip cannot be reached.
    """
    if (units is None) == (rate is None):
        raise ValueError("give either units, or a rate and its quantity")
    if units is not None and quantity is not None:
        raise ValueError("quantity requires a rate and cannot be combined with units")
    terms = {"units": units} if units is not None else {"rate": rate, "quantity": 1 if quantity is None else quantity}
    guard = _Guard(scrip, customer, terms, expires_in, reason, metadata)

    def decorate(function: F) -> F:
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise TypeError(f"{function.__name__} is a generator, which runs after the call: use reserve() in its body")
        wrapped: F = (_asynchronous if inspect.iscoroutinefunction(function) else _synchronous)(guard, function)
        return wrapped

    return decorate


@dataclass(frozen=True, slots=True)
class _Guard:
    """The arguments of one decorator."""

    scrip: Scrip | Callable[[], Scrip]
    customer: str | Callable[..., str] | None
    terms: Mapping[str, Any]
    expires_in: int
    reason: str | None
    metadata: Mapping[str, Any] | Callable[..., Mapping[str, Any]] | None

    def reservation(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Reservation:
        """The reservation of one call; not opened yet."""

        def resolve(value: Any) -> Any:
            return value(*args, **kwargs) if callable(value) else value

        customer = flask_answers.customer_of_request() if self.customer is None else resolve(self.customer)
        if not customer:
            raise ValueError("the customer is missing: pass customer=, or set flask.g.customer")
        return (self.scrip() if callable(self.scrip) else self.scrip).reserve(
            customer,
            **{name: resolve(value) for name, value in self.terms.items()},
            expires_in=self.expires_in,
            reason=self.reason,
            metadata=resolve(self.metadata),
        )


def _open(hold: Reservation) -> None:
    try:
        hold.open()
    except ScripError as error:
        raise flask_answers.with_response(error) from error


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
        _close(hold, result, flask_answers.is_failure(wrapper, result))
        return result

    return wrapper


def _asynchronous(guard: _Guard, function: Callable[..., Any]) -> Any:
    """Like `_synchronous` for a coroutine: requests to Scrip run in a thread, so that they do not block the loop."""

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
        await asyncio.to_thread(_close, hold, result, flask_answers.is_failure(wrapper, result))
        return result

    return wrapper
