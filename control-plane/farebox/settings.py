"""The environment, read once by `__main__` into one frozen value and passed on from there.

Every setting is `FAREBOX_` and its name in upper case; `docs/settings.md` has a heading for each. The edge
has its own (`FAREBOX_EDGE_*`), because it runs where the control plane's secrets must not be.
"""

from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """What the control plane, the worker and the collector need to know of the place they run in."""

    model_config = SettingsConfigDict(env_prefix="FAREBOX_", frozen=True, extra="ignore")

    home: Path = Field(default=Path(".farebox"), description="Folder for everything `farebox up` keeps.")
    database_url: SecretStr = Field(default=SecretStr(""), description="PostgreSQL as farebox_app.")
    database_worker_url: SecretStr = Field(default=SecretStr(""), description="PostgreSQL as farebox_worker.")
    database_owner_url: SecretStr = Field(
        default=SecretStr(""), description="PostgreSQL as the migrating owner."
    )
    database_pool_size: int = Field(default=10, ge=1, le=200)
    redis_url: SecretStr = Field(default=SecretStr(""))

    web_host: str = "127.0.0.1"
    web_port: int = Field(default=8080, ge=0, le=65535)
    public_url: str = Field(
        default="http://127.0.0.1:8080", description="Where people reach the web process."
    )
    token_secret: SecretStr = Field(
        default=SecretStr(""), description="Signs access tokens; 32 characters or more."
    )
    link_secret: SecretStr = Field(
        default=SecretStr(""), description="Signs the links to invoices in mails; 32 characters or more."
    )
    token_lifetime_seconds: int = Field(default=3600, ge=60)
    trusted_proxies: tuple[str, ...] = Field(
        default=(), description="CIDRs whose X-Forwarded-For is believed."
    )
    api_rate_limit: int = Field(
        default=600, ge=1, description="Control-plane requests a minute for one caller."
    )
    auth_rate_limit: int = Field(
        default=30, ge=1, description="Log-ins and sign-ups a minute for one address."
    )
    metrics_token: SecretStr = Field(
        default=SecretStr(""), description="Opens /metrics to other machines; without it this one alone."
    )

    key_prefix: str = Field(default="fbx", pattern="^[a-z][a-z0-9]{0,15}$")

    smtp_url: SecretStr = Field(default=SecretStr("smtp://127.0.0.1:1025"))
    mail_from: str = "Farebox <no-reply@farebox.invalid>"

    gateway_admin_url: str = Field(default="http://127.0.0.1:9180", description="The gateway's Admin API.")
    gateway_admin_key: SecretStr = Field(default=SecretStr(""))
    gateway_data_url: str = Field(default="http://127.0.0.1:9080", description="Where API consumers call.")
    gateway_status_url: str = Field(
        default="", description="Where the gateway's node says what it enforces; empty: it is not asked."
    )
    gateways_file: Path | None = Field(
        default=None, description="YAML that names all gateways; the FAREBOX_GATEWAY_* then mean nothing."
    )
    drift_seconds: float = Field(default=60.0, gt=0, description="How often each node is compared.")
    gateway_timeout_seconds: float = Field(default=5.0, gt=0)
    full_pass_seconds: float = Field(
        default=300.0, gt=0, description="How often all of a gateway is compared."
    )

    node: str = Field(
        default="gw-1", pattern=r"^[a-zA-Z0-9_.-]{1,64}$", description="Name of the gateway node."
    )
    usage_log: Path = Field(default=Path(".farebox/usage/usage.log"), description="The node's usage log.")
    usage_archive: Path = Field(
        default=Path(".farebox/usage/archive"), description="Where read files are kept."
    )
    usage_retention_days: int = Field(default=400, ge=1)
    collect_interval_seconds: float = Field(default=0.25, gt=0)

    billing_grace_seconds: float = Field(default=30.0, ge=0, description="Wait after a period's end.")
    billing_interval_seconds: float = Field(default=15.0, gt=0)
    issuer: str = Field(
        default="Farebox", description="The seller's name on invoices; numbers count per issuer."
    )
    paper_fonts: Path | None = Field(
        default=None, description="Folder of fonts for invoices, for scripts beyond ours such as Chinese."
    )
    invoice_ceiling_minor: int = Field(default=10_000_000_00, ge=1, description="A larger invoice is parked.")
    invoice_line_ceiling: int = Field(default=200, ge=1, description="One with more lines is parked.")
    account_daily_ceiling_minor: int = Field(
        default=20_000_000_00, ge=1, description="More than this for one account in a day is parked."
    )

    stripe_secret_key: SecretStr = Field(default=SecretStr(""), description="Without it Stripe is off.")
    stripe_publishable_key: str = Field(default="", description="Goes to browsers, for Elements.")
    stripe_webhook_secret: SecretStr = Field(
        default=SecretStr(""), description="Signs Stripe's webhooks; several, by commas, while it is rotated."
    )
    stripe_api_url: str = "https://api.stripe.com"
    paystack_secret_key: SecretStr = Field(default=SecretStr(""), description="Without it Paystack is off.")
    paystack_api_url: str = "https://api.paystack.co"
    payment_provider: str = Field(
        default="stripe", pattern="^(stripe|paystack)$", description="Collects where the currency names none."
    )
    payment_providers: dict[str, str] = Field(
        default={"NGN": "paystack", "GHS": "paystack", "KES": "paystack", "ZAR": "paystack"},
        description="Which provider collects a currency.",
    )
    payment_timeout_seconds: float = Field(default=20.0, gt=0, description="One request to a provider.")

    log_format: str = Field(default="json", pattern="^(json|console)$")
