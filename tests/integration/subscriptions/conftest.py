"""Fixtures of the subscriptions' tests; they live in `tests/support`."""

from tests.support.web import api, clock, settings, worker

__all__ = ["api", "clock", "settings", "worker"]
