"""Usage: what was read of the gateways' logs, what it adds up to, and how sure that is."""
