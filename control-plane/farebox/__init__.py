"""The control plane: organizations, keys, plans, usage, invoices, and the HTTP edge they are reached by.

It never talks to a gateway: what must happen there is written to the outbox, and the worker does it.
"""
