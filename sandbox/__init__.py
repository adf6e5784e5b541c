"""Simulated Stripe and PayPal, for development and tests without an account there."""
