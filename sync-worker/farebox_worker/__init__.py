"""The worker's side: gateways brought to what was sold, the outbox, metering, billing."""
