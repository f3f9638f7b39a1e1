"""What every implementation of the key grammar must agree on."""

import json
from importlib.resources import files

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farebox_contract import keys

VECTORS = json.loads(files("farebox_contract").joinpath("key_vectors.json").read_text())
BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


@pytest.mark.parametrize("vector", VECTORS["valid"], ids=lambda vector: vector["text"][:20])
def test_a_valid_vector_is_read_as_it_says(vector: dict[str, str]) -> None:
    """The text names environment, organization and key; check and digest are the vector's."""
    name = keys.parse(vector["text"], prefix=vector["prefix"])
    assert name == keys.KeyName(vector["environment"], vector["organization"], vector["key"])  # type: ignore[arg-type]
    assert keys.checksum(vector["text"][:-6]) == vector["check"]
    assert keys.digest(vector["text"]) == vector["sha256"]


@pytest.mark.parametrize("vector", VECTORS["invalid"], ids=lambda vector: vector["why"])
def test_an_invalid_vector_is_refused_without_showing_it(vector: dict[str, str]) -> None:
    """Refused, and the error does not carry the text: errors reach logs."""
    with pytest.raises(keys.MalformedKeyError) as refusal:
        keys.parse(vector["text"])
    assert len(vector["text"]) < 12 or vector["text"] not in str(refusal.value)


def test_the_crc_is_the_standard_one() -> None:
    """CRC-32 of "123456789" is cbf43926 (the standard check value), here in base 62."""
    number = 0
    for digit in keys.checksum("123456789"):
        number = number * 62 + BASE62.index(digit)
    assert number == 0xCBF43926


@given(st.sampled_from(keys.ENVIRONMENTS), st.text(alphabet="abcxyz0189", min_size=10, max_size=10))
def test_what_is_issued_is_read_back(environment: keys.Environment, public_id: str) -> None:
    """Issuing and parsing are inverse, and two keys of one name differ."""
    issued = keys.issue(environment, public_id, "k" * 10)
    assert keys.parse(issued.text) == issued.name
    assert issued.digest == keys.digest(issued.text)
    assert keys.issue(environment, public_id, "k" * 10).text != issued.text


@given(st.integers(0, 72), st.sampled_from(BASE62 + "_"))
def test_one_changed_character_is_always_found(position: int, character: str) -> None:
    """A CRC-32 finds every single-character error, so a mistyped key costs no look-up."""
    text = VECTORS["valid"][0]["text"]
    position %= len(text)
    changed = text[:position] + character + text[position + 1 :]
    if changed == text:
        return
    with pytest.raises(keys.MalformedKeyError):
        keys.parse(changed)


@given(st.text(max_size=200))
def test_arbitrary_text_never_crashes_the_parser(text: str) -> None:
    """Any text is read or refused, nothing else."""
    try:
        keys.parse(text)
    except keys.MalformedKeyError:
        return


def test_a_printed_key_object_does_not_show_the_key() -> None:
    """Reprs reach logs and error reports."""
    issued = keys.issue("live", "a" * 10, "b" * 10)
    assert issued.text not in repr(issued)
    assert issued.digest not in repr(issued)
