"""The sandbox's keys: made at its first start and kept in its folder, so that no default secret exists.

Knows one file of mode 0600; refuses to know who is given the keys.
"""

import json
import os
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path

import msgspec


@dataclass(frozen=True, slots=True)
class Keys:
    """What the providers would hand out: their test keys, and the secret that signs Stripe's webhooks."""

    stripe_secret_key: str
    stripe_publishable_key: str
    stripe_webhook_secret: str
    paystack_secret_key: str


def kept_or_made(folder: Path) -> Keys:
    """The keys in `folder`/keys.json, made on first use. Raises ValueError when the file is damaged."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / "keys.json"
    if not path.exists():
        made = Keys(
            stripe_secret_key=f"sk_test_{secrets.token_hex(24)}",
            stripe_publishable_key=f"pk_test_{secrets.token_hex(24)}",
            stripe_webhook_secret=f"whsec_{secrets.token_hex(24)}",
            paystack_secret_key=f"sk_test_{secrets.token_hex(20)}",
        )
        draft = folder / f".keys.{os.getpid()}"
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(asdict(made), file, indent=2)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)  # whoever is first wins; the other reads the winner's keys
        except FileExistsError:
            return kept_or_made(folder)
        finally:
            draft.unlink(missing_ok=True)
    try:
        return msgspec.json.decode(path.read_bytes(), type=Keys)
    except msgspec.DecodeError as error:
        raise ValueError(f"{path} is damaged ({error}). Delete it, and new keys are made.") from error
