"""The small HTML page that nginx, and so APISIX, sends where a plugin gives a status and no body."""

from typing import Final

_PAGE: Final = (
    b"<html>\r\n<head><title>%d %b</title></head>\r\n<body>\r\n<center><h1>%d %b</h1></center>\r\n"
    b"<hr><center>farebox</center>\r\n</body>\r\n</html>\r\n"
)
_TYPE: Final = (b"Content-Type", b"text/html; charset=utf-8")


def page(status: int, reason: bytes) -> tuple[tuple[bytes, bytes], bytes]:
    """Return the Content-Type and the body."""
    return _TYPE, _PAGE % (status, reason, status, reason)
