"""What the worker does about payments: webhooks out of the inbox, recovery, reconciliation, new customers."""
