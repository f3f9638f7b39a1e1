"""Fixtures that every test may ask for. They live in `tests/support`, where code can import their parts."""

pytest_plugins = ("tests.support.servers",)
