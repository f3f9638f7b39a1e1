"""`request-id` of APISIX: an id for the upstream and the client, the client's own if it sent one.

It is for finding a request again, never for counting it: the usage line's `rid` is made by the gateway alone.
"""

import re
import uuid
from typing import Any, ClassVar, Final

from farebox_gateway.edge.passage import Passage
from farebox_gateway.edge.plugins.base import META, Decision, Headers, Plugin
from farebox_gateway.edge.schema import CheckedSchema

_UNPRINTABLE: Final = re.compile(r"[^\x20-\x7e]")


class RequestId(Plugin):
    """See the module. Of the algorithms, `uuid`."""

    name: ClassVar = "request-id"
    priority: ClassVar = 12015
    schemas: ClassVar = {
        "route": CheckedSchema(
            {
                "type": "object",
                "properties": {
                    "header_name": {
                        "type": "string",
                        "default": "X-Request-Id",
                        "pattern": "^[A-Za-z0-9-]+$",
                    },
                    "include_in_response": {"type": "boolean", "default": True},
                    "algorithm": {"type": "string", "enum": ["uuid"], "default": "uuid"},
                    "_meta": META,
                },
                "additionalProperties": False,
            }
        )
    }

    def rewrite(self, exchange: Passage, conf: dict[str, Any]) -> Decision:
        """Give the request an id if it has none."""
        if not exchange.headers.get(conf["header_name"]):
            exchange.headers[conf["header_name"]] = str(uuid.uuid4())
        return None

    def header_filter(self, exchange: Passage, conf: dict[str, Any], headers: Headers) -> Headers:
        """Tell the client, unless the upstream did."""
        name = conf["header_name"]
        if not conf["include_in_response"] or any(row[0].lower() == name.lower().encode() for row in headers):
            return headers
        text = _UNPRINTABLE.sub("", exchange.headers.get(name, ""))
        return [*headers, (name.encode(), text.encode("utf-8", "surrogateescape"))]
