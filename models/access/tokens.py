"""Customer tokens: a signed note that its bearer may read one customer's resources, for at most an hour.

An app's backend makes one for its customer's browser. Nothing is stored of it; all nodes share the signing secret,
which lies in the table `secret`. Tokens live by the wall clock, even where the sandbox's is moved.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

import jwt

from models import database

ALGORITHM = "HS256"
AUDIENCE = "scrip:customer"
SECRET_NAME = "customer_tokens"
LONGEST = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Token:
    """What a valid token says: the bearer may read this customer of this app."""

    app: str
    customer: str


def create(app: str, customer: str, *, lifetime: timedelta = LONGEST, now: datetime) -> tuple[str, datetime]:
    """A token and when it ends. `now` is the wall clock's; a longer lifetime than an hour is cut."""
    expires_at = (now + min(lifetime, LONGEST)).replace(microsecond=0)
    claims = {
        "aud": AUDIENCE,
        "app": app,
        "sub": customer,
        "iat": int(now.timestamp()),
        "exp": int(expires_at.timestamp()),
    }
    return jwt.encode(claims, signing_secret(), algorithm=ALGORITHM), expires_at


def read(text: str, *, now: datetime) -> Token | None:
    """What the token says; None if it is not ours, was changed, or has ended."""
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
    app, customer, ends = claims["app"], claims["sub"], claims["exp"]
    if not isinstance(app, str) or not isinstance(ends, int) or ends <= now.timestamp():
        return None
    return Token(app, customer)


def signing_secret() -> bytes:
    """The secret of all nodes, made by whoever asks first."""
    sql = "SELECT value FROM secret WHERE name = %s"
    rows = database.read(sql, [SECRET_NAME])
    if not rows:
        database.write(
            "INSERT INTO secret (name, value) VALUES (%s, %s) ON CONFLICT DO NOTHING",
            [SECRET_NAME, secrets.token_bytes(32)],
        )
        rows = database.read(sql, [SECRET_NAME])
    return bytes(rows[0][0])
