"""Fixtures that every test may ask for. They live in `tests/support`, where code can import their parts."""

from hypothesis import settings

pytest_plugins = ("tests.support.servers",)

# No test depends on time: a machine that is busy with others is no fault of the code.
settings.register_profile("house", deadline=None)
settings.load_profile("house")
