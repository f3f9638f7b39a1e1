"""API keys with scopes, allow-lists, rotation, import."""

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    pass
