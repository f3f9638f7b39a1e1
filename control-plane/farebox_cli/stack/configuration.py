"""What runs where: ports, addresses, and the variables that every program of the stack is given. Pure.

Refuses to start anything and to read the environment: both are handed in.
"""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Final, Literal
from urllib.parse import unquote, urlsplit

HOST: Final = "127.0.0.1"
DATABASE: Final = "farebox"
_DATABASE_URLS: Final = ("FAREBOX_DATABASE_URL", "FAREBOX_DATABASE_WORKER_URL", "FAREBOX_DATABASE_OWNER_URL")


class ConfigurationError(Exception):
    """The given settings cannot work together; the text names them and the remedy."""


@dataclass(frozen=True, slots=True)
class StackOptions:
    """How to run the stack. `variables` are settings (`FAREBOX_…`) that win over what we would choose.

    `ports` "stable" takes the well-known ones where they are free; "free" disturbs nobody. `demo` registers
    the sample API as the route `messages`. `log_format` is how the programs write: "json" or "console".
    """

    home: Path
    ports: Literal["stable", "free"] = "stable"
    variables: Mapping[str, str] = field(default_factory=dict)
    postgres_settings: Mapping[str, str] = field(default_factory=dict)
    demo: bool = True
    log_format: str = "json"

    @property
    def external_database(self) -> bool:
        """Whether PostgreSQL is somebody else's to run."""
        return bool(self.variables.get("FAREBOX_DATABASE_URL"))

    @property
    def external_redis(self) -> bool:
        """Whether Redis is somebody else's to run."""
        return bool(self.variables.get("FAREBOX_REDIS_URL"))

    def check(self) -> None:
        """Raise ConfigurationError unless an external database comes with all three of its URLs."""
        missing = [name for name in _DATABASE_URLS if not self.variables.get(name)]
        if 0 < len(missing) < len(_DATABASE_URLS):
            raise ConfigurationError(
                f"A PostgreSQL of your own needs three URLs; missing: {', '.join(missing)}. "
                "`farebox migrate --superuser-url URL` makes the roles and prints them."
            )


@dataclass(frozen=True, slots=True)
class Ports:
    """One for each listener that people or programs call by a number."""

    web: int
    gateway: int
    gateway_admin: int
    upstream: int
    smtp: int
    payments: int


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where everything is. No secrets in here: they stand in `env_file`, mode 0600."""

    web: str
    gateway: str
    gateway_admin: str
    upstream: str
    smtp: str
    payments: str
    home: str
    env_file: str
    mail_folder: str
    usage_log: str
    logs: str


@dataclass(frozen=True, slots=True)
class _Wish:
    what: str
    variable: str
    port: int


_WISHES: Final[Mapping[str, _Wish]] = MappingProxyType(
    {
        "web": _Wish("the control plane", "FAREBOX_WEB_PORT", 8080),
        "gateway": _Wish("the gateway", "FAREBOX_EDGE_DATA_PORT", 9080),
        "gateway_admin": _Wish("the gateway's Admin API", "FAREBOX_EDGE_ADMIN_PORT", 9180),
        "upstream": _Wish("the sample API", "FAREBOX_SANDBOX_UPSTREAM_PORT", 8090),
        "smtp": _Wish("the mail sink", "FAREBOX_SANDBOX_SMTP_PORT", 1025),
        "payments": _Wish("the payments sandbox", "FAREBOX_SANDBOX_PAYMENTS_PORT", 8095),
    }
)


def choose_ports(
    options: StackOptions,
    *,
    is_free: Callable[[int], bool],
    any_free: Callable[[], int],
    say: Callable[[str], None],
) -> Ports:
    """The well-known ports, or others where those are taken (which is said). A port that was asked for stays.

    Raises ConfigurationError when a port that was asked for is taken or no number.
    """
    chosen: dict[str, int] = {}
    for name, wish in _WISHES.items():
        asked = options.variables.get(wish.variable, "")
        if asked and asked != "0":
            if not asked.isdigit() or not 0 < int(asked) < 65536:
                raise ConfigurationError(f"{wish.variable} is {asked!r}; give a port from 1 to 65535.")
            if not is_free(int(asked)):
                raise ConfigurationError(
                    f"Port {asked} for {wish.what} ({wish.variable}) is taken. Choose another."
                )
            chosen[name] = int(asked)
            continue
        free = options.ports == "stable" and is_free(wish.port) and wish.port not in chosen.values()
        chosen[name] = wish.port if free else _another(any_free, chosen)
        if options.ports == "stable" and not free:
            say(f"Port {wish.port} is taken; {wish.what} is at {chosen[name]} instead.")
    return Ports(**chosen)


def addresses(home: Path, ports: Ports) -> Addresses:
    """Where everything will be."""
    return Addresses(
        web=f"http://{HOST}:{ports.web}",
        gateway=f"http://{HOST}:{ports.gateway}",
        gateway_admin=f"http://{HOST}:{ports.gateway_admin}",
        upstream=f"http://{HOST}:{ports.upstream}",
        smtp=f"smtp://{HOST}:{ports.smtp}",
        payments=f"http://{HOST}:{ports.payments}",
        home=str(home),
        env_file=str(home / "env"),
        mail_folder=str(home / "mail"),
        usage_log=str(home / "usage" / "usage.log"),
        logs=str(home / "logs"),
    )


@dataclass(frozen=True, slots=True)
class Secrets:
    """Made once per installation, and kept in its file."""

    token: str
    link: str
    gateway_admin: str
    identity: str
    database: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def kept_or_new(cls, recorded: Mapping[str, str], roles: Mapping[str, str]) -> "Secrets":
        """Those that the file has, else new ones. `roles` maps a database role to its URL's variable."""
        passwords = {role: _password(recorded.get(variable, "")) for role, variable in roles.items()}
        return cls(
            token=recorded.get("FAREBOX_TOKEN_SECRET") or secrets.token_urlsafe(48),
            link=recorded.get("FAREBOX_LINK_SECRET") or secrets.token_urlsafe(48),
            gateway_admin=recorded.get("FAREBOX_GATEWAY_ADMIN_KEY") or secrets.token_urlsafe(32),
            identity=recorded.get("FAREBOX_EDGE_IDENTITY_SECRETS") or secrets.token_urlsafe(32),
            database={role: password or secrets.token_urlsafe(24) for role, password in passwords.items()},
        )


def variables(
    options: StackOptions, where: Addresses, ports: Ports, kept: Secrets, *, services: Mapping[str, str]
) -> dict[str, str]:
    """Every setting that the programs of the stack need; `services` are the URLs of PostgreSQL and Redis.

    What a person gave wins, and is given to the edge under its own names too.
    """
    ours = {
        "FAREBOX_HOME": where.home,
        "FAREBOX_WEB_HOST": HOST,
        "FAREBOX_WEB_PORT": str(ports.web),
        "FAREBOX_PUBLIC_URL": where.web,
        "FAREBOX_TOKEN_SECRET": kept.token,
        "FAREBOX_LINK_SECRET": kept.link,
        "FAREBOX_SMTP_URL": where.smtp,
        "FAREBOX_GATEWAY_ADMIN_URL": where.gateway_admin,
        "FAREBOX_GATEWAY_ADMIN_KEY": kept.gateway_admin,
        "FAREBOX_GATEWAY_DATA_URL": where.gateway,
        "FAREBOX_GATEWAY_STATUS_URL": f"{where.gateway_admin}/farebox/node",
        "FAREBOX_NODE": "gw-1",
        "FAREBOX_USAGE_LOG": where.usage_log,
        "FAREBOX_USAGE_ARCHIVE": str(Path(where.usage_log).parent / "archive"),
        **services,
    }
    ours |= options.variables
    edge = {
        "FAREBOX_EDGE_ADMIN_KEY": ours["FAREBOX_GATEWAY_ADMIN_KEY"],
        "FAREBOX_EDGE_DATA_HOST": HOST,
        "FAREBOX_EDGE_DATA_PORT": str(ports.gateway),
        "FAREBOX_EDGE_ADMIN_HOST": HOST,
        "FAREBOX_EDGE_ADMIN_PORT": str(ports.gateway_admin),
        "FAREBOX_EDGE_STATE_FOLDER": str(Path(where.home) / "edge"),
        "FAREBOX_EDGE_LOG_PATH": ours["FAREBOX_USAGE_LOG"],
        "FAREBOX_EDGE_NODE": ours["FAREBOX_NODE"],
        "FAREBOX_EDGE_REDIS_URL": ours["FAREBOX_REDIS_URL"],
        "FAREBOX_EDGE_IDENTITY_SECRETS": kept.identity,
    }
    if "FAREBOX_KEY_PREFIX" in ours:
        edge["FAREBOX_EDGE_KEY_PREFIX"] = ours["FAREBOX_KEY_PREFIX"]
    return {**edge, **ours}


def payment_variables(options: StackOptions, where: Addresses, keys: Mapping[str, str]) -> dict[str, str]:
    """Settings that lead to the payments sandbox; `keys` are its own, by setting without `FAREBOX_`.

    A provider of which a person set anything is left to that person: a real key must never reach the sandbox,
    and the sandbox's key never a real provider.
    """
    found: dict[str, str] = {}
    for provider in ("STRIPE", "PAYSTACK"):
        if any(name.startswith(f"FAREBOX_{provider}_") for name in options.variables):
            continue
        ours = {f"FAREBOX_{name.upper()}": key for name, key in keys.items()}
        found |= {name: key for name, key in ours.items() if name.startswith(f"FAREBOX_{provider}_")}
        found[f"FAREBOX_{provider}_API_URL"] = where.payments
    return found


def for_the_edge(everything: Mapping[str, str]) -> dict[str, str]:
    """The variables of the gateway's process: none of the control plane's secrets."""
    return {name: value for name, value in everything.items() if name.startswith("FAREBOX_EDGE_")}


def for_the_upstream(everything: Mapping[str, str]) -> dict[str, str]:
    """The variable of the sample API: by what secret it knows what came through the gateway."""
    return {"FAREBOX_IDENTITY_SECRETS": everything["FAREBOX_EDGE_IDENTITY_SECRETS"]}


def _another(any_free: Callable[[], int], taken: Mapping[str, int]) -> int:
    while (port := any_free()) in taken.values():
        continue
    return port


def _password(url: str) -> str:
    return unquote(urlsplit(url).password or "")
