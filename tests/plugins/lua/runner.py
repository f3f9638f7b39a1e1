"""Runs our Lua modules where they run in production, in nginx, without APISIX around them.

Debian's nginx with its Lua module is enough for everything that does not touch APISIX's own objects: it has
the same LuaJIT, sockets, timers and shared memory. Texts go in and out as bytes (surrogateescape), as in a
request.
"""

import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from socket import AF_UNIX, socket
from typing import Any, Final

import pytest

PLUGINS: Final = Path(__file__).parents[3] / "plugins"
MODULES: Final = Path("/usr/lib/nginx/modules")
_NEEDED: Final = (MODULES / "ndk_http_module.so", MODULES / "ngx_http_lua_module.so")
_CONFIGURATION: Final = """
{user}
daemon on; worker_processes {workers}; pid nginx.pid; error_log error.log warn;
load_module {modules}/ndk_http_module.so;
load_module {modules}/ngx_http_lua_module.so;
events {{ worker_connections 512; }}
http {{
    access_log off;
    client_body_temp_path body; proxy_temp_path proxy;
    fastcgi_temp_path fast; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
    client_body_buffer_size 1m; client_max_body_size 1m;
    lua_package_path "{plugins}/?.lua;;";
    lua_shared_dict farebox-counters 16m;
    init_worker_by_lua_block {{
        settings = require("cjson").decode([==[{settings}]==])
        local root = "apisix.plugins.farebox."
        function open_store()
            local dict = ngx.shared["farebox-counters"]
            if not settings.redis_url then
                return require(root .. "counters_local").new(dict)
            end
            local server = require(root .. "redis_url").parse(settings.redis_url)
            local link = require(root .. "redis_link").new(server, settings.timeout)
            return require(root .. "counters_redis").new(dict, link, settings)
        end
        store = open_store()
        store:start()
    }}
    exit_worker_by_lua_block {{ store:stop(true) }}
    server {{
        listen unix:{folder}/socket;
        location / {{
            content_by_lua_block {{
                local cjson = require("cjson")
                ngx.req.read_body()
                local call = cjson.decode(ngx.req.get_body_data())
                local given, results = call.arguments, nil
                for i = 1, #given do
                    if given[i] == cjson.null then
                        given[i] = nil
                    end
                end
                local name = call["function"]
                local module = call.module ~= "store" and require("apisix.plugins.farebox." .. call.module)
                if not module then
                    results = {{ store[name](store, unpack(given, 1, call.count)) }}
                elseif name == cjson.null then
                    results = {{ module }}
                else
                    results = {{ module[name](unpack(given, 1, call.count)) }}
                end
                local texts = {{}}
                for i = 1, table.maxn(results) do
                    texts[i] = results[i] == nil and "null" or cjson.encode(results[i])
                end
                ngx.print("[", table.concat(texts, ","), "]")
            }}
        }}
    }}
}}
"""


class _UnixConnection(HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost")
        self._path = path

    def connect(self) -> None:
        self.sock = socket(AF_UNIX)
        self.sock.connect(str(self._path))


@dataclass(frozen=True, slots=True)
class Nginx:
    """A running nginx that calls our modules."""

    folder: Path

    def call(self, module: str, function: str | None, *arguments: Any) -> list[Any]:
        """Call a function of a module (without one: get the module itself) and return its results."""
        call = {"module": module, "function": function, "arguments": arguments, "count": len(arguments)}
        connection = _UnixConnection(self.folder / "socket")
        body = json.dumps(call, ensure_ascii=False).encode("utf-8", "surrogateescape")
        connection.request("POST", "/", body)
        response = connection.getresponse()
        answer = response.read().decode("utf-8", "surrogateescape")
        connection.close()
        assert response.status == 200, (self.folder / "error.log").read_text()[-2000:]
        results: list[Any] = json.loads(answer)
        return results

    @property
    def master(self) -> int:
        """The master's process id."""
        return int((self.folder / "nginx.pid").read_text())

    @property
    def workers(self) -> list[int]:
        """The workers' process ids."""
        return [
            int(one) for one in Path(f"/proc/{self.master}/task/{self.master}/children").read_text().split()
        ]

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End nginx, and wait until its pid file is gone."""
        master = self.master
        handle = os.pidfd_open(master)
        os.kill(master, number)
        import select

        select.select([handle], [], [], 10)
        os.close(handle)


def require_nginx() -> str:
    """Return nginx's program; without it or its Lua module skip the test, in CI fail."""
    program = shutil.which("nginx")
    if program is None or not all(path.exists() for path in _NEEDED):
        text = "needs the Debian packages nginx, libnginx-mod-http-lua and lua-cjson"
        if os.environ.get("CI"):
            pytest.fail(text)
        pytest.skip(text)
    return program


def user_line() -> str:
    """Return the line that keeps workers in a root's own folders."""
    return "user root;" if os.geteuid() == 0 else ""


@contextmanager
def running_nginx(*, workers: int = 1, settings: Mapping[str, Any] | None = None) -> Iterator[Nginx]:
    """Run nginx in a folder of its own. It listens when this returns: nginx forks only after it has bound."""
    program = require_nginx()
    with tempfile.TemporaryDirectory(prefix="fbx", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        configuration = _CONFIGURATION.format(
            user=user_line(),
            workers=workers,
            modules=MODULES,
            plugins=PLUGINS,
            folder=folder,
            settings=json.dumps(dict(settings or {})),
        )
        (folder / "nginx.conf").write_text(configuration)
        subprocess.run([program, "-p", name, "-c", f"{name}/nginx.conf"], check=True, capture_output=True)
        nginx = Nginx(folder)
        try:
            yield nginx
        finally:
            if (folder / "nginx.pid").exists():
                nginx.stop()
