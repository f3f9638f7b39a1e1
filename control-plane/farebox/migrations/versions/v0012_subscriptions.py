"""The catalogue and the states of subscriptions."""

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    pass
