"""Runs the Lua plugins whole, phase by phase, in Debian's nginx, where CI has no APISIX.

A stage stands around them: the few functions of APISIX that they call, which do no more than nginx's own.
Against a real APISIX the contract tests of `tests/plugins` say the same and more.
"""

import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.plugins.lua.runner import MODULES, PLUGINS, Nginx, require_nginx, user_line

_STAGE: Final = Path(__file__).parent / "around"
_CONFIGURATION: Final = """
{user}
daemon on; worker_processes 1; pid nginx.pid; error_log error.log crit;
load_module {modules}/ndk_http_module.so;
load_module {modules}/ngx_http_lua_module.so;
events {{ worker_connections 512; }}
http {{
    access_log off;
    client_body_temp_path body; proxy_temp_path proxy;
    fastcgi_temp_path fast; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
    large_client_header_buffers 4 16k;
    underscores_in_headers off;
    lua_package_path "{stage}/?.lua;{plugins}/?.lua;;";
    lua_shared_dict farebox-counters 16m;
    init_worker_by_lua_block {{
        STAGE = require("cjson").decode([==[{settings}]==])
        auth, limit = require("apisix.plugins.farebox-auth"), require("apisix.plugins.farebox-limit")
        auth.init()
        limit.init()
    }}
    server {{
        listen unix:{folder}/socket;
        location / {{
            content_by_lua_block {{
                local set = {{}}
                local var = setmetatable({{}}, {{
                    __index = function(_, name) return set[name] or ngx.var[name] end,
                    __newindex = function(_, name, value) set[name] = value end,
                }})
                var.real_request_uri, var.upstream_uri = ngx.var.request_uri, ""
                local ctx = {{ var = var, route_id = STAGE.route, matched_route = {{ value = {{
                    id = STAGE.route, plugins = {{ ["farebox-auth"] = STAGE.conf, ["farebox-limit"] = {{}} }},
                }} }} }}
                local status, body = auth.rewrite(STAGE.conf, ctx)
                if not status then
                    status, body = auth.access(STAGE.conf, ctx)
                end
                if not status then
                    status, body = limit.access({{}}, ctx)
                end
                if status then
                    ngx.status = status
                    ngx.print(body)
                    return
                end
                local headers = {{}}
                for name, value in pairs(ngx.req.get_headers(0)) do
                    for _, one in ipairs(type(value) == "table" and value or {{ value }}) do
                        headers[#headers + 1] = {{ name, one }}
                    end
                end
                local target = var.upstream_uri ~= "" and var.upstream_uri or var.real_request_uri
                ngx.print(require("cjson").encode({{ target = target, headers = headers }}))
            }}
        }}
    }}
}}
"""


@dataclass(frozen=True, slots=True)
class Stage:
    """A running nginx with our plugins on one route."""

    nginx: Nginx

    @property
    def socket(self) -> Path:
        """Where it listens."""
        return self.nginx.folder / "socket"


@contextmanager
def running_stage(*, route: str, conf: Mapping[str, Any], consumers: Mapping[str, Any]) -> Iterator[Stage]:
    """Run the plugins on a route with `conf` for `farebox-auth`; `consumers` as APISIX keeps them."""
    require_nginx()
    with tempfile.TemporaryDirectory(prefix="fbx", ignore_cleanup_errors=True) as name:
        settings = {"route": route, "conf": conf, "consumers": consumers, "attributes": {"key_prefix": "fbx"}}
        folder = Path(name)
        configuration = _CONFIGURATION.format(
            user=user_line(),
            modules=MODULES,
            plugins=PLUGINS,
            stage=_STAGE,
            folder=folder,
            settings=json.dumps(settings),
        )
        (folder / "nginx.conf").write_text(configuration)
        program = shutil.which("nginx") or "nginx"
        subprocess.run([program, "-p", name, "-c", f"{name}/nginx.conf"], check=True, capture_output=True)
        nginx = Nginx(folder)
        try:
            yield Stage(nginx)
        finally:
            if (folder / "nginx.pid").exists():
                nginx.stop()
