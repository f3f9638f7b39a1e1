"""What a running web process holds, found by typed keys. Filled by `farebox.app`, never at import."""

from typing import Final

from aiohttp import web

from farebox.clock import Clock
from farebox.db import Database
from farebox.metrics import Metrics
from farebox.payments.providers import Providers
from farebox.rate_limits import RateLimiter
from farebox.reading import Reading
from farebox.settings import Settings
from farebox.users.passwords import LeakedPasswords, Passwords
from farebox.users.tokens import Tokens

SETTINGS: Final = web.AppKey("settings", Settings)
CLOCK: Final = web.AppKey[Clock]("clock", Clock)
DATABASE: Final = web.AppKey("database", Database)
READING: Final = web.AppKey("reading", Reading)
PASSWORDS: Final = web.AppKey("passwords", Passwords)
LEAKED: Final = web.AppKey("leaked", LeakedPasswords)
TOKENS: Final = web.AppKey("tokens", Tokens)
RATES: Final = web.AppKey("rates", RateLimiter)
METRICS: Final = web.AppKey("metrics", Metrics)
PROVIDERS: Final = web.AppKey("providers", Providers)
