"""Billing as the account sees it: usage, the current bill, past invoices, and what-if."""
