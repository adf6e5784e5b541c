"""Credit for the time of a piece of work: held before, taken after success, free again after a failure."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Literal

from scrip_client.errors import Conflict, InsufficientCredits, NotCaptured, RateLimited, ScripError, Unavailable

if TYPE_CHECKING:
    from scrip_client.spending import Spending

log = logging.getLogger("scrip_client")

DEFAULT_EXPIRY_SECONDS = 3600
# The work is done by then: giving up early would give it away.
CAPTURE_PATIENCE_SECONDS = 60.0
ATTEMPTS = 5

_current: ContextVar[Reservation] = ContextVar("scrip_client_reservation")


def current_hold() -> Reservation:
    """The reservation that the running code works for: of the innermost `require_credits` or `reserve`.

    Raises:
        LookupError: there is none. A thread that the work starts has none either.
    """
    return _current.get()


class Reservation:
    """Units held for a customer. `with` it, or `open` it and then `capture` or `release` it.

    `id` is the hold's; `units` what is held; after the end `taken` is what was taken, `shortfall` what the work cost
    beyond that, and `balance` the customer's balance (None if nothing was asked of Scrip). A hold lives for
    `expires_in` seconds, 60 to 86400: longer than the work may last.
    """

    def __init__(
        self,
        scrip: Spending,
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
        """Hold the units. Work that costs nothing needs no hold.

        Raises:
            InsufficientCredits: less is available; nothing is held.
        """
        if self._terms.get("units") != 0:
            held = self._scrip.hold(
                self.customer, **self._terms, **self._notes, expires_in=self._expires_in, id=self.id
            )
            self.units = held["units"]
        self.state = "held"

    def use(self, units: int | None = None, *, quantity: int | None = None) -> None:
        """Say what the work really cost, in units or as a quantity of the rate. The last word counts."""
        if (units is None) == (quantity is None):
            raise ValueError("say what was used: either units or a quantity")
        if quantity is not None and "rate" not in self._terms:
            raise ValueError("a quantity belongs to a rate, and this was reserved in units")
        self._actual = {"units": units} if units is not None else {"quantity": quantity or 0}

    def capture(self) -> None:
        """Take what the work cost. Where that is more than was held, the rest comes from what is available.

        If even that is too little, what is there is taken and `shortfall` says what is missing: the work is done.

        Raises:
            NotCaptured: Scrip cannot be reached. The units stay held until the hold expires; call this again.
        """
        if self.state != "held":
            return
        try:
            wanted = self._wanted_units()
            answer = self._take(wanted)
        except (Unavailable, RateLimited) as error:
            raise NotCaptured(self, error) from error
        self.state = "captured"
        self.taken = answer["units"]
        self.balance = answer["balance"]
        self.shortfall = wanted - self.taken
        if self.shortfall:
            log.warning("%s cost %s more than %s has: %s was taken", self.id, self.shortfall, self.customer, self.taken)

    def release(self) -> None:
        """Free the units. A hold that cannot be released now is left to expire: nothing was taken."""
        if self.state != "held":
            return
        self.state = "released"
        if not self.units:
            return
        try:
            self.balance = self._scrip.release(self.id)["balance"]
        except ScripError as error:
            log.warning("hold %s was not released and will expire: %s", self.id, error)

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
        """Makes `current_hold` this one, for the time of a block."""
        token = _current.set(self)
        try:
            yield
        finally:
            _current.reset(token)

    def _wanted_units(self) -> int:
        """What the work cost. A quantity is priced by Scrip: it alone knows how a rate rounds."""
        if "quantity" in self._actual:
            return int(self._scrip.quote(self.customer, self._terms["rate"], self._actual["quantity"])["units"])
        return self._actual.get("units", self.units)

    def _take(self, wanted: int) -> Mapping[str, Any]:
        if self.units:
            try:
                return _as_far_as_there_is(self._capture, wanted, secured=self.units)
            except Conflict as closed:
                if closed.fields.get("state") == "captured":  # by an attempt whose answer was lost, or by the work
                    return self._scrip.capture(self.id)
                if closed.fields.get("state") != "expired":
                    raise
        return _as_far_as_there_is(self._charge, wanted, secured=0)

    def _capture(self, units: int) -> Mapping[str, Any]:
        return self._scrip.capture(self.id, units, patience=CAPTURE_PATIENCE_SECONDS)

    def _charge(self, units: int) -> Mapping[str, Any]:
        """What there is no hold for, or no longer. The id is the hold's, so this happens once as well."""
        if not units:
            return {"units": 0, "balance": None}
        notes = {**self._notes, "reason": self._notes["reason"] or self._terms.get("rate")}
        return self._scrip.charge(self.customer, units, **notes, id=self.id, patience=CAPTURE_PATIENCE_SECONDS)


def _as_far_as_there_is(take: Callable[[int], Mapping[str, Any]], wanted: int, *, secured: int) -> Mapping[str, Any]:
    """Take what is wanted, or as much as there is; `secured` units cannot be refused."""
    for _ in range(ATTEMPTS):
        try:
            return take(wanted)
        except InsufficientCredits as short:
            wanted = min(wanted, secured + (short.balance or 0))
    return take(secured)
