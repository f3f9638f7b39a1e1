"""What gateway nodes report, and several gateways."""

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    pass
