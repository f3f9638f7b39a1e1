"""The signer that keeps what is done once for each secret signs as the standard library does."""

import hashlib
import hmac

from hypothesis import given
from hypothesis import strategies as st

from farebox_contract import identity


@given(
    st.lists(st.binary(min_size=1, max_size=200), max_size=3), st.text(max_size=80), st.integers(0, 10**13)
)
def test_it_signs_as_hmac_does(secrets: list[bytes], path: str, time_ms: int) -> None:
    """Whatever the secrets' lengths, over and over with the same signer."""
    signer = identity.Signer(secrets)
    for method in ("GET", "POST"):
        said = identity.Identity(time_ms=time_ms, request_id="ab" * 16, method=method, path=path)
        text = identity.canonical(said).encode("utf-8", "surrogateescape")
        wanted = ",".join(f"v1={hmac.new(secret, text, hashlib.sha256).hexdigest()}" for secret in secrets)
        assert signer.sign(said) == wanted == identity.sign(said, secrets)
