"""Who buys and who sells: what stands in an invoice's head."""
