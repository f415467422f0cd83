"""Which names are keys, and how the name of an unfinished write is told from them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.base import WriteMode
from adapters.errors import InvalidKey, WriteLost
from adapters.keys import (
    MAX_COMPONENT_BYTES,
    MAX_KEY_BYTES,
    check_key,
    check_prefix,
    is_partial,
    partial_key,
    partial_token,
)
from adapters.tokens import WriteToken

HEX = "0123456789abcdef" * 2


def is_legal(key: str) -> bool:
    try:
        return check_key(key) == key
    except InvalidKey:
        return False


names = st.text(st.characters(codec="utf-8", exclude_characters="/"), min_size=1, max_size=20)
legal_keys = st.lists(names, min_size=1, max_size=5).map("/".join).filter(is_legal)


@pytest.mark.parametrize(
    ("key", "why"),
    [
        ("", "empty"),
        ("a//b", "component"),
        ("/a", "component"),
        ("a/", "component"),
        ("a/../b", "component"),
        ("a/.", "component"),
        ("a\0b", "control"),
        ("a\nb", "control"),
        ("a\x7f", "control"),
        ("\udcff", "UTF-8"),
        ("é" * (MAX_KEY_BYTES // 2 + 1), "bytes, 1024 are allowed"),
        ("x" * (MAX_COMPONENT_BYTES + 1), "212 bytes"),
        (f".x.{HEX}.partial", "unfinished"),
        (f".x.{HEX}.partial/below", "unfinished"),
    ],
)
def test_illegal_key_is_refused_with_the_reason(key: str, why: str) -> None:
    with pytest.raises(InvalidKey, match=why) as refused:
        check_key(key, storage="store")
    assert refused.value.storage == "store"


@given(st.text(max_size=60) | st.lists(st.sampled_from(["..", ".", "", "a", "b"]), max_size=6).map("/".join))
def test_accepted_key_stays_below_its_root_and_is_text(key: str) -> None:
    if is_legal(key):
        assert 0 < len(key.encode()) <= MAX_KEY_BYTES
        assert not {"", ".", ".."} & set(key.split("/"))
        assert "\0" not in key


@given(legal_keys, st.data())
def test_every_start_of_a_legal_key_is_a_legal_prefix(key: str, data: st.DataObject) -> None:
    prefix = key[: data.draw(st.integers(0, len(key)))]
    assert check_prefix(prefix) == prefix


@pytest.mark.parametrize("prefix", ["/", "/a", "a//", "../", "a/../", "a/./b", "a\0", f".x.{HEX}.partial/"])
def test_prefix_of_no_legal_key_is_refused(prefix: str) -> None:
    with pytest.raises(InvalidKey):
        check_prefix(prefix)


@given(legal_keys)
def test_partial_lies_beside_its_key_and_is_no_key_itself(key: str) -> None:
    partial = partial_key(key, HEX)
    assert partial.rpartition("/")[0] == key.rpartition("/")[0]
    name = partial.rpartition("/")[2]
    assert is_partial(name)
    assert len(name.encode()) <= 255
    assert not is_legal(partial)
    assert partial_token(name, target=key.rpartition("/")[2]) == HEX


@given(legal_keys, legal_keys)
def test_partial_belongs_to_one_name_only(key: str, other: str) -> None:
    name, other_name = key.rpartition("/")[2], other.rpartition("/")[2]
    if name != other_name:
        assert partial_token(partial_key(name, HEX), target=other_name) is None


@pytest.mark.parametrize("name", ["x", ".x.partial", f".x.{HEX[1:]}.partial", f".{HEX}.partial", f".x.{HEX}.partial2"])
def test_other_names_are_no_partials(name: str) -> None:
    assert not is_partial(name)
    assert partial_token(name, target="x") is None


@given(legal_keys, st.none() | st.integers(0, 2**59), st.sampled_from(WriteMode))
def test_token_says_all_that_its_writer_declared(key: str, size: int | None, mode: WriteMode) -> None:
    token = WriteToken.new(key, size=size, mode=mode)
    found = WriteToken.parse(str(token), storage="store")
    assert found == token
    assert (found.key, found.size, found.mode) == (key, size, mode)
    assert partial_token(token.partial.rpartition("/")[2], target=key.rpartition("/")[2]) == token.hex


@pytest.mark.parametrize("token", ["", "x", HEX, f"{HEX}:", f"{HEX}:../up", f"{HEX.upper()}:a", f"{HEX}0:a", f":{HEX}"])
def test_token_that_was_never_given_names_no_write(token: str) -> None:
    with pytest.raises(WriteLost):
        WriteToken.parse(token, storage="store")
