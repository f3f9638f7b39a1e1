"""Every command of `farebox`: its name, where its code is, and the line that `farebox --help` shows for it.

The command's module is imported only when the command runs, so that `farebox --help` answers at once and the
edge never loads what only the control plane needs. A command whose module is not installed is not listed.
Its context object (`click.pass_obj`) is the process's `farebox.settings.Settings`.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Entry:
    """`target` is "module:attribute", a click command or group."""

    target: str
    section: str
    summary: str


_COMMANDS: Final = "farebox_cli.commands"
RUN: Final = "Run"
GATEWAY: Final = "Gateway"
USAGE: Final = "Usage and money"
PEOPLE: Final = "People"
INSTALLATION: Final = "Installation"

COMMANDS: Final[dict[str, Entry]] = {
    "up": Entry(f"{_COMMANDS}.up:up", RUN, "Start everything on this machine and keep it running."),
    "web": Entry(f"{_COMMANDS}.accounts:web", RUN, "The control-plane API."),
    "worker": Entry(f"{_COMMANDS}.gateway:worker", RUN, "Background jobs: gateway sync, billing, mail."),
    "collect": Entry(f"{_COMMANDS}.collect:collect", RUN, "Meter a gateway node from its usage log."),
    "edge": Entry(f"{_COMMANDS}.edge:edge", RUN, "The embedded gateway."),
    "demo": Entry(f"{_COMMANDS}.demo:demo", RUN, "The whole story, told as it happens on real parts."),
    "sandbox": Entry(f"{_COMMANDS}.sandbox:sandbox", RUN, "Stand-ins for the outside world."),
    "gateway": Entry(f"{_COMMANDS}.gateways:gateway", GATEWAY, "The gateways and nodes, and their state."),
    "drift": Entry(f"{_COMMANDS}.drift:drift", GATEWAY, "What each node enforces against what was sold."),
    "sync": Entry(
        f"{_COMMANDS}.gateway:sync", GATEWAY, "Bring the gateway to what was sold, or show the difference."
    ),
    "product": Entry(f"{_COMMANDS}.products:product", GATEWAY, "API products: named offers of routes."),
    "upstream": Entry(
        f"{_COMMANDS}.products:upstream", GATEWAY, "Where APIs live, and how they are reached."
    ),
    "route": Entry(f"{_COMMANDS}.products:route", GATEWAY, "The API routes that the gateway serves."),
    "apply": Entry(f"{_COMMANDS}.declarative:apply", GATEWAY, "Make the catalogue what a file says."),
    "diff": Entry(f"{_COMMANDS}.declarative:diff", GATEWAY, "Show what applying a file would change."),
    "dump": Entry(f"{_COMMANDS}.declarative:dump", GATEWAY, "Write the catalogue as such a file."),
    "lint": Entry(f"{_COMMANDS}.declarative:lint", GATEWAY, "Check such a file without a database."),
    "node": Entry(f"{_COMMANDS}.collect:node", GATEWAY, "Gateway nodes and how far each has been metered."),
    "usage": Entry(f"{_COMMANDS}.collect:usage", USAGE, "What an organization used, by key and route."),
    "correction": Entry(f"{_COMMANDS}.corrections:correction", USAGE, "Correct or backfill metered usage."),
    "bill": Entry(f"{_COMMANDS}.invoices:bill", USAGE, "Close billing periods and make their invoices."),
    "invoice": Entry(f"{_COMMANDS}.invoices:invoice", USAGE, "Show an invoice, its lines and its statement."),
    "payment": Entry(f"{_COMMANDS}.payments:payment", USAGE, "Charge, refund, record and look at payments."),
    "dunning": Entry(f"{_COMMANDS}.dunning:dunning", USAGE, "Unpaid invoices: what follows, and for whom."),
    "webhook": Entry(f"{_COMMANDS}.payments:webhook", USAGE, "What payment providers reported, and replay."),
    "reconcile": Entry(f"{_COMMANDS}.payments:reconcile", USAGE, "Compare a day with the payment providers."),
    "rate": Entry(f"{_COMMANDS}.rate:rate", USAGE, "Price a quantity, or a file of cases."),
    "simulate": Entry(
        f"{_COMMANDS}.simulate:simulate", USAGE, "What any plan would have earned and refused."
    ),
    "issuer": Entry(f"{_COMMANDS}.papers:issuer", USAGE, "Who issues invoices: the seller they name."),
    "coupon": Entry(f"{_COMMANDS}.coupons:coupon", USAGE, "Coupons: offer, withdraw, redeem."),
    "credit": Entry(f"{_COMMANDS}.credits:credit", USAGE, "An organization's prepaid and given credit."),
    "tax": Entry(f"{_COMMANDS}.tax:tax", USAGE, "Tax rates by country and region."),
    "verify": Entry(f"{_COMMANDS}.invoices:verify", USAGE, "Derive an invoice again from raw usage lines."),
    "key": Entry(f"{_COMMANDS}.keys:key", PEOPLE, "An organization's API keys, and keys from elsewhere."),
    "operator": Entry(f"{_COMMANDS}.accounts:operator", PEOPLE, "The people who run this installation."),
    "member": Entry(f"{_COMMANDS}.accounts:member", PEOPLE, "The members of an organization."),
    "organization": Entry(f"{_COMMANDS}.accounts:organization", PEOPLE, "Every organization there is."),
    "plan": Entry(
        f"{_COMMANDS}.plans:plan", PEOPLE, "The plans on offer, their versions, moving subscribers."
    ),
    "subscription": Entry(
        f"{_COMMANDS}.subscriptions:subscription",
        PEOPLE,
        "An organization's plan and state, and what is scheduled.",
    ),
    "clock": Entry(f"{_COMMANDS}.accounts:clock", PEOPLE, "The test clock of an organization in test mode."),
    "migrate": Entry(f"{_COMMANDS}.migrate:migrate", INSTALLATION, "Bring the database schema up to date."),
    "health": Entry(f"{_COMMANDS}.health:health", INSTALLATION, "Whether one process does its work."),
    "doctor": Entry(
        f"{_COMMANDS}.doctor:doctor", INSTALLATION, "Say what is wrong here, and what to do about it."
    ),
}
