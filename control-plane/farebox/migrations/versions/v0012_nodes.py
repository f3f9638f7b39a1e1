"""What gateway nodes report, and several gateways."""

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    pass
