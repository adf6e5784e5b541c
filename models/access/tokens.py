"""Customer tokens: signed JWTs that allow their bearer to act for one customer, for at most an hour.

An app's backend creates one for its customer's browser. Tokens are not stored. All nodes share the signing secret, in
the table `secret`. Expiry uses the wall clock, also in a sandbox whose clock was moved.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

import jwt

from models import database
from models.tables import Secret

ALGORITHM = "HS256"
AUDIENCE = "scrip:customer"
SECRET_NAME = "customer_tokens"
LONGEST = timedelta(hours=1)
# What tokens can be made for. `sessions`, `redeem` and `top_up` may be asked for and allow nothing yet.
ABILITIES = ("read", "checkout", "sessions", "subscriptions", "redeem", "top_up")
DEFAULT = ("read", "checkout")


@dataclass(frozen=True, slots=True)
class Token:
    """The claims of a valid token: what its bearer can do for this customer of this app, and until when."""

    app: str
    customer: str
    expires_at: datetime
    can: frozenset[str] = frozenset(DEFAULT)


def create(
    app: str, customer: str, *, can: Sequence[str] = DEFAULT, lifetime: timedelta = LONGEST, now: datetime
) -> tuple[str, datetime]:
    """Return a token and when it expires. `now`: the wall clock's time. A lifetime over one hour is shortened to it."""
    expires_at = (now + min(lifetime, LONGEST)).replace(microsecond=0)
    claims = {
        "aud": AUDIENCE,
        "app": app,
        "sub": customer,
        "iat": int(now.timestamp()),
        "exp": int(expires_at.timestamp()),
        "can": sorted(set(can)),
    }
    return jwt.encode(claims, signing_secret(), algorithm=ALGORITHM), expires_at


def read(text: str, *, now: datetime) -> Token | None:
    """Return the token's claims; None if its signature or content is not valid, or if it has expired at `now`."""
    try:
        claims = jwt.decode(
            text,
            signing_secret(),
            algorithms=[ALGORITHM],
            audience=AUDIENCE,
            options={"require": ["exp", "aud", "sub", "app"], "verify_exp": False, "verify_iat": False},
        )
    except (jwt.InvalidTokenError, ValueError):
        return None
    app, customer, expires = claims["app"], claims["sub"], claims["exp"]
    if not isinstance(app, str) or not isinstance(expires, int) or expires <= now.timestamp():
        return None
    can = claims.get("can", DEFAULT)  # tokens of earlier versions do not say
    if not isinstance(can, (list, tuple)) or not all(isinstance(one, str) for one in can):
        return None
    return Token(app, customer, datetime.fromtimestamp(expires, timezone.utc), frozenset(can))


def signing_secret() -> bytes:
    """Return the secret that all nodes share, generated at the first call on any of them."""
    # SQL, not peewee: every request with a token reads the secret, and peewee adds 0.6 ms of CPU to that.
    sql = "SELECT value FROM secret WHERE name = %s"
    rows = database.read(sql, [SECRET_NAME])
    if not rows:
        insert = Secret.insert(name=SECRET_NAME, value=secrets.token_bytes(32)).on_conflict_ignore()
        database.transaction(lambda _: insert.execute())
        rows = database.read(sql, [SECRET_NAME])
    return bytes(rows[0][0])
