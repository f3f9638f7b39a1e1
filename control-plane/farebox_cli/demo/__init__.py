"""The story that `make demo` tells: one organization, from sign-up to a proven invoice, on real parts.

Every number that it shows comes from the running system or from the storyteller's own count of what it
sent; where a log is generated to let a month pass, it says so.
"""
