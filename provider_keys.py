"""Which keys of payment providers may be used where: live keys outside the sandbox, test keys in it.

A live key in a sandbox would let public sandbox keys move real money; a test key outside one would give credits for
payments that never happened. SCRIP_ALLOW_TEST_KEYS=1 allows both, for a trial of a production installation.
"""

from __future__ import annotations

LIVE = ("sk_live_", "rk_live_")
TEST = ("sk_test_", "rk_test_", "sk_sandbox_")
IN_SANDBOX = (
    "but this is a sandbox: use a test key, set DATABASE_URL or SCRIP_SANDBOX=0 for production, or set"
    " SCRIP_ALLOW_TEST_KEYS=1 to use live and test keys together"
)
OUTSIDE = (
    "but this is not a sandbox: use the live one, set SCRIP_SANDBOX=1, or set SCRIP_ALLOW_TEST_KEYS=1 to use test keys"
    " in production"
)


def stripe_key_fault(key: str | None, *, sandbox: bool) -> str | None:
    """Why a secret key of Stripe may not be used here; None if it may. The key itself is not repeated."""
    if key and sandbox and key.startswith(LIVE):
        return f"is a live key of Stripe, {IN_SANDBOX}"
    if key and not sandbox and key.startswith(TEST):
        return f"is a test key of Stripe, {OUTSIDE}"
    return None


def paypal_fault(environment: str, *, sandbox: bool) -> str | None:
    """Why PayPal's environment may not be used here; None if it may."""
    if sandbox and environment == "live":
        return f"is live, {IN_SANDBOX}"
    return f"is sandbox, {OUTSIDE}" if not sandbox and environment == "sandbox" else None


def secret_fault(is_public: bool, *, sandbox: bool) -> str | None:
    """Why a secret or a webhook id may not be used here if it is the sandbox's, which anyone may sign with."""
    return f"contains the sandbox's own, which is public, {OUTSIDE}" if is_public and not sandbox else None
