"""Identifiers are unique, sortable and read back."""

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farebox import ids


def test_uuid7_has_version_variant_and_order() -> None:
    """RFC 9562: version 7, variant 10, and ids made later sort later by the millisecond."""
    made = [ids.uuid7() for _ in range(1000)]
    assert all(value.version == 7 and value.variant == uuid.RFC_4122 for value in made)
    assert len(set(made)) == 1000
    milliseconds = [value.int >> 80 for value in made]
    assert milliseconds == sorted(milliseconds)


@given(st.uuids())
def test_public_texts_are_read_back(value: uuid.UUID) -> None:
    """Encoding and decoding are inverse."""
    assert ids.decode("inv", ids.encode("inv", value)) == value


@given(st.uuids(), st.uuids())
def test_public_texts_sort_like_the_ids(one: uuid.UUID, other: uuid.UUID) -> None:
    """So a cursor over texts is a cursor over time."""
    assert (ids.encode("inv", one) < ids.encode("inv", other)) == (one.int < other.int)


def test_the_typeid_specifications_vector_is_met() -> None:
    """From the TypeID specification's valid vectors."""
    value = uuid.UUID("01890a5d-ac96-774b-bcce-b302099a8057")
    assert ids.encode("prefix", value) == "prefix_01h455vb4pex5vsknk084sn02q"


@pytest.mark.parametrize(
    "text",
    ["", "inv_", "org_01h455vb4pex5vsknk084sn02q", "inv_81h455vb4pex5vsknk084sn02q", "inv_" + "u" * 26],
)
def test_a_text_of_another_form_is_refused(text: str) -> None:
    """Wrong prefix, wrong length, overflow, foreign letters."""
    with pytest.raises(ids.MalformedIdError):
        ids.decode("inv", text)


@pytest.mark.parametrize(
    "text", ["org_4f7q2k8m1", "key_4f7q2k8m1z", "org_4F7q2k8m1z", "4f7q2k8m1z", "org_4f7q2k8m1é"]
)
def test_a_public_id_of_another_form_is_refused(text: str) -> None:
    """Only the prefix asked for and 10 characters of a-z, 0-9."""
    assert ids.strip("org", "org_4f7q2k8m1z") == "4f7q2k8m1z"
    with pytest.raises(ids.MalformedIdError):
        ids.strip("org", text)
