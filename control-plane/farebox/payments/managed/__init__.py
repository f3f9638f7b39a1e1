"""Subscriptions that Stripe itself manages, for those who want them. docs/payments.md has the states."""
