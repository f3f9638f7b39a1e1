"""Paystack's API as far as Farebox calls it: https://paystack.com/docs/api/transaction/."""
