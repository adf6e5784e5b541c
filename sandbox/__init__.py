"""What stands for Stripe and PayPal while nobody has an account there."""
