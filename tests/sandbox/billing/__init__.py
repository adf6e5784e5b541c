"""Tests of what the sandbox bills: subscriptions, invoices, schedules and credit notes."""
