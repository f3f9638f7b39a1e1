"""Debts before the real SDK, a sandbox on the wire, and a worker's passes."""

import pytest
from tests.integration.dunning.debts import Debts
from tests.integration.payments.conftest import api, clock, house, sandbox, settings
from tests.integration.payments.house import House
from tests.support.web import worker

__all__ = ["api", "clock", "house", "sandbox", "settings", "worker"]


@pytest.fixture
def debts(house: House) -> Debts:
    """The debts of the house's customer, none yet."""
    return Debts(house)
