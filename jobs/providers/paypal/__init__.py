"""PayPal. `verify_signature` has this fixed address: programs outside of Scrip import it (docs/payments.md)."""

from jobs.providers.paypal.signature import CannotVerify, verify_signature

__all__ = ["CannotVerify", "verify_signature"]
