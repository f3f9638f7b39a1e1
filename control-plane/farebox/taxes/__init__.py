"""Taxes: which are levied on an invoice, and what they come to."""
