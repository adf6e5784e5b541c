"""Reservations: units held before a piece of work, captured after success, released after a failure."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Literal

from scrip_client.charging import Charging
from scrip_client.errors import Conflict, InsufficientCredits, RateLimited, ScripError, Unavailable

log = logging.getLogger("scrip_client")

DEFAULT_EXPIRY_SECONDS = 3600
# The work is done by then: an early failure would leave it unpaid.
CAPTURE_PATIENCE_SECONDS = 60.0
ATTEMPTS = 5

_current: ContextVar[Reservation] = ContextVar("scrip_client_reservation")


def current_hold() -> Reservation:
    """The reservation of the innermost `require_credits` or `reserve` block around the running code.

    Raises:
        LookupError: no such block is active. Threads started within a block do not inherit it.
    """
    return _current.get()


class Reservation:
    """Units held for a customer. Use it in a `with` block, or call `open`, then `capture` or `release`.

    `id` is the id of the hold and `units` the held units. After the end, `taken` is the number of deducted units,
    `shortfall` the cost beyond them, and `balance` the customer's balance (None if no request was needed). A hold
    expires after `expires_in` seconds, 60 to 86400; choose a longer time than the work takes.
    """

    def __init__(
        self,
        scrip: Charging,
        customer: str,
        terms: Mapping[str, Any],
        *,
        id: str,
        expires_in: int = DEFAULT_EXPIRY_SECONDS,
        reason: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        self.id = id
        self.customer = customer
        self.units = 0
        self.taken = 0
        self.shortfall = 0
        self.balance: int | None = None
        self.state: Literal["new", "held", "captured", "released"] = "new"
        self._scrip = scrip
        self._terms = dict(terms)
        self._actual: dict[str, int] = {}
        self._notes: dict[str, Any] = {"reason": reason, "metadata": metadata}
        self._expires_in = expires_in

    def open(self) -> None:
        """Hold the units. Without a hold if the amount is 0 units.

        Raises:
            InsufficientCredits: fewer units are available; nothing is held.
        """
        if self._terms.get("units") != 0:
            held = self._scrip.hold(
                self.customer, **self._terms, **self._notes, expires_in=self._expires_in, id=self.id
            )
            self.units = held["units"]
        self.state = "held"

    def use(self, units: int | None = None, *, quantity: int | None = None) -> None:
        """Set the actual cost of the work, in units or as a quantity of the rate. The last call applies."""
        if (units is None) == (quantity is None):
            raise ValueError("give either units or a quantity")
        if quantity is not None and "rate" not in self._terms:
            raise ValueError("quantity requires a rate, but this reservation was made in units")
        self._actual = {"units": units} if units is not None else {"quantity": quantity or 0}

    def capture(self) -> None:
        """Deduct the cost of the work. A cost above the held units is deducted from the available units.

        If these are too few, all available units are deducted and `shortfall` is the rest, because the work is done.

        Raises:
            NotCaptured: Scrip cannot be reached. The units remain held until the hold expires; call this again.
        """
        if self.state != "held":
            return
        try:
            cost = self._cost_units()
            answer = self._take(cost)
        except (Unavailable, RateLimited) as error:
            raise NotCaptured(self, error) from error
        self.state = "captured"
        self.taken = answer["units"]
        self.balance = answer["balance"]
        self.shortfall = cost - self.taken
        if self.shortfall:
            log.warning("hold %s of %s: %s units taken, %s short", self.id, self.customer, self.taken, self.shortfall)

    def release(self) -> None:
        """Release the units. If that fails, the hold expires by itself; nothing is deducted."""
        if self.state != "held":
            return
        self.state = "released"
        if not self.units:
            return
        try:
            self.balance = self._scrip.release(self.id)["balance"]
        except ScripError as error:
            log.warning("hold %s could not be released and will expire: %s", self.id, error)

    def __enter__(self) -> Reservation:
        self.open()
        self._token = _current.set(self)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        _current.reset(self._token)
        if kind is None:
            self.capture()
        else:
            self.release()

    @contextmanager
    def as_current(self) -> Iterator[None]:
        """Make this reservation the `current_hold` within the block."""
        token = _current.set(self)
        try:
            yield
        finally:
            _current.reset(token)

    def _cost_units(self) -> int:
        """The cost of the work. Scrip prices a quantity, because the rounding of a rate is part of the catalog.

        A hold takes units, so a carried fraction is rounded up: the capture does not add the quantity to the total.
        """
        if "quantity" in self._actual:
            quote = self._scrip.quote(self.customer, self._terms["rate"], self._actual["quantity"])
            return int(quote.get("rounded_up") or quote["units"])
        return self._actual.get("units", self.units)

    def _take(self, cost: int) -> Mapping[str, Any]:
        if self.units:
            try:
                return _take_available(self._capture, cost, secured=self.units)
            except Conflict as closed:
                if closed.fields.get("state") == "captured":  # by an attempt whose response was lost, or by the work
                    return self._scrip.capture(self.id)
                if closed.fields.get("state") != "expired":
                    raise
        return _take_available(self._charge, cost, secured=0)

    def _capture(self, units: int) -> Mapping[str, Any]:
        return self._scrip.capture(self.id, units, patience=CAPTURE_PATIENCE_SECONDS)

    def _charge(self, units: int) -> Mapping[str, Any]:
        """Charge units without a hold, or after its expiry. The charge has the id of the hold, so it is idempotent."""
        if not units:
            return {"units": 0, "balance": None}
        rates = ", ".join(dict.fromkeys(line["rate"] for line in self._terms.get("lines", ())))
        notes = {**self._notes, "reason": self._notes["reason"] or self._terms.get("rate") or rates or None}
        return self._scrip.charge(self.customer, units, **notes, id=self.id, patience=CAPTURE_PATIENCE_SECONDS)


def _take_available(take: Callable[[int], Mapping[str, Any]], units: int, *, secured: int) -> Mapping[str, Any]:
    """Take `units`, or as many as are available. `secured` units are held and always available."""
    for _ in range(ATTEMPTS):
        try:
            return take(units)
        except InsufficientCredits as error:
            units = min(units, secured + (error.balance or 0))
    return take(secured)


class NotCaptured(Unavailable):
    """The work is done, but Scrip could not be reached to deduct its units, which remain held until the hold expires.

    Call `reservation.capture()` before that. `result` is the return value of the function.
    """

    def __init__(self, reservation: Reservation, cause: ScripError) -> None:
        super().__init__(cause.status, cause.fields, retry_after=cause.retry_after)
        self.reservation = reservation
        self.result: Any = None
