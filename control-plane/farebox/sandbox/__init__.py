"""Stand-ins for the outside world on one machine: a mail server that delivers to a folder, an API to sell,
Stripe and Paystack.

They are programs of their own, started by `farebox up`; nothing in the product imports them.
"""
