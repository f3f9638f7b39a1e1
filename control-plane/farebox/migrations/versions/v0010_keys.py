"""API keys with scopes, allow-lists, rotation, import."""

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    pass
