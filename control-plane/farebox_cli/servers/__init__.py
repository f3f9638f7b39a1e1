"""Launchers for the servers that Farebox needs and a bare machine does not have: PostgreSQL and Redis.

They start real servers from the binaries that wheels carry, as foreground children that die with their
parent, listen on 127.0.0.1 only and keep everything inside one folder. They refuse to know what the servers
are used for: no schema, no roles, no Farebox settings.
"""

from farebox_cli.servers.errors import FolderInUseError, ServerStartError
from farebox_cli.servers.postgres import EmbeddedPostgres, PostgresServer, embedded_postgres
from farebox_cli.servers.redis import EmbeddedRedis, RedisServer, embedded_redis

__all__ = [
    "EmbeddedPostgres",
    "EmbeddedRedis",
    "FolderInUseError",
    "PostgresServer",
    "RedisServer",
    "ServerStartError",
    "embedded_postgres",
    "embedded_redis",
]
