"""One nginx for all tests of pure modules."""

from collections.abc import Iterator

import pytest
from tests.plugins.lua.runner import Nginx, running_nginx


@pytest.fixture(scope="session")
def lua() -> Iterator[Nginx]:
    """Our Lua modules, ready to be called."""
    with running_nginx() as nginx:
        yield nginx
