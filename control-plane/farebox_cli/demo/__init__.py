"""The story that `make demo` tells: an organization from sign-up to a paid, proven invoice, on real parts.

The payments sandbox plays the provider, and is spoken to as a browser would: no card passes through us.

Every number that it shows comes from the running system or from the storyteller's own count of what it
sent; where a log is generated to let a month pass, it says so.
"""
