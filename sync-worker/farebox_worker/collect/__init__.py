"""The collector: a line of a gateway's log becomes usage, exactly once."""
