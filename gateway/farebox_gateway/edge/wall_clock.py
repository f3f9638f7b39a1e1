"""The wall clock of this process, read in one place."""

import time


def now_ms() -> int:
    """Return the wall clock in whole milliseconds since the Unix epoch."""
    return time.time_ns() // 1_000_000
