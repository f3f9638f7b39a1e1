"""Where requests are counted against limits: on this node alone, or in Redis for all nodes together."""
