"""Keys: each legal one names an object of its own, and no illegal one reaches the storage."""

from __future__ import annotations

from contextlib import suppress

import pytest

from adapters.base import Adapter
from adapters.errors import InvalidKey, WriteLost
from adapters.keys import MAX_COMPONENT_BYTES, MAX_KEY_BYTES
from adapters.testkit.base import Contract

LEGAL = (
    "plain",
    "with space",
    " leading and trailing ",
    "double  space",
    "ünïcödé/日本語/😀.txt",
    "e\N{COMBINING ACUTE ACCENT}",
    "é",
    "100%25",
    "100%",
    "a%2Fb",
    "a+b",
    "a&b=c;d,e",
    "what?#fragment",
    "back\\slash",
    "'single' \"double\" `back`",
    "<tag>&amp;",
    "$HOME ~user !bang",
    "*star?[set]{brace}",
    "colon:at@host",
    ".hidden",
    "..dots",
    "dots..",
    "-dash",
    "UPPER",
    "upper",
    "x" * MAX_COMPONENT_BYTES,
    "folder.partial",
    ".name.0123.partial",
)
REFUSED = (
    "",
    "/",
    "/absolute",
    "folder/",
    "a//b",
    ".",
    "..",
    "../up",
    "a/../b",
    "a/./b",
    "a/..",
    "nul\0",
    "line\nbreak",
    "tab\t",
    "del\x7f",
    "lone \ud800 surrogate",
    "x" * (MAX_COMPONENT_BYTES + 1),
    "é" * (MAX_COMPONENT_BYTES // 2 + 1),
    "/".join(["x" * 100] * 11),
    ".name.0123456789abcdef0123456789abcdef.partial",
    "a/.name.0123456789abcdef0123456789abcdef.partial",
    ".name.0123456789abcdef0123456789abcdef.partial/b",
)


class Keys(Contract):
    def test_every_legal_key_names_an_object_of_its_own(self, adapter: Adapter, folder: str) -> None:
        for key in LEGAL:
            self.store(adapter, folder + key, key.encode())
        assert set(self.keys(adapter, folder)) == {folder + key for key in LEGAL}
        for key in LEGAL:
            assert self.fetch(adapter, folder + key) == key.encode()
            assert adapter.stat(folder + key).key == folder + key

    def test_longest_key_is_stored_and_found(self, adapter: Adapter, folder: str) -> None:
        key = f"{folder}{'y' * 200}/{'y' * 200}/{'y' * 200}/{'y' * 200}/".ljust(MAX_KEY_BYTES, "z")
        self.store(adapter, key, b"long")
        assert self.fetch(adapter, key) == b"long"
        assert self.keys(adapter, folder) == [key]

    @pytest.mark.parametrize("key", REFUSED, ids=lambda key: ascii(key)[:40])
    def test_illegal_key_is_refused_by_every_call(self, adapter: Adapter, key: str) -> None:
        with pytest.raises(InvalidKey):
            adapter.stat(key)
        with pytest.raises(InvalidKey):
            adapter.open_read(key).close()
        with pytest.raises(InvalidKey):
            adapter.open_write(key, size=None).abort()
        with pytest.raises(InvalidKey):
            adapter.unfinished_writes(key)
        with pytest.raises(InvalidKey):
            adapter.delete(key)

    @pytest.mark.parametrize("prefix", ["/", "/absolute", "a//", "../", "a/../", "nul\0"], ids=ascii)
    def test_illegal_prefix_is_refused(self, adapter: Adapter, prefix: str) -> None:
        with pytest.raises(InvalidKey):
            list(adapter.scan(prefix))

    def test_keys_that_begin_alike_do_not_touch_each_other(self, adapter: Adapter, folder: str) -> None:
        names = ("d/p", "d/p.other", "d/p2", "d.p", "d2/p")
        for name in names:
            self.store(adapter, folder + name, name.encode())
        adapter.delete(f"{folder}d/p")
        self.assert_absent(adapter, f"{folder}d/p")
        for name in names[1:]:
            assert self.fetch(adapter, folder + name) == name.encode()

    def test_object_and_folder_of_one_name_live_together_or_the_second_is_refused(
        self, adapter: Adapter, folder: str
    ) -> None:
        for first, second in ((f"{folder}a", f"{folder}a/p"), (f"{folder}b/p", f"{folder}b")):
            self.store(adapter, first, b"first")
            try:
                self.store(adapter, second, b"second")
            except InvalidKey:
                self.assert_nothing_left(adapter, second)
            else:
                assert self.fetch(adapter, second) == b"second"
            assert self.fetch(adapter, first) == b"first"

    def test_folder_is_no_object(self, adapter: Adapter, folder: str) -> None:
        self.store(adapter, f"{folder}d/p", b"data")
        self.assert_nothing_left(adapter, f"{folder}d")
        adapter.delete(f"{folder}d")
        assert self.fetch(adapter, f"{folder}d/p") == b"data"

    def test_object_is_no_folder(self, adapter: Adapter, folder: str) -> None:
        self.store(adapter, f"{folder}d", b"data")
        self.assert_nothing_left(adapter, f"{folder}d/p")
        adapter.delete(f"{folder}d/p")
        assert self.fetch(adapter, f"{folder}d") == b"data"

    def test_token_that_is_none_removes_nothing(self, adapter: Adapter, folder: str) -> None:
        key = f"{folder}object"
        self.store(adapter, key, b"data")
        for token in ("", "nonsense", key, f"{'0' * 32}:{key}", f"{'0' * 32}:../../{key}", "0" * 32):
            with pytest.raises(WriteLost):
                adapter.resume_write(token).abort()
            with suppress(WriteLost):
                adapter.abort_write(token)
        assert self.fetch(adapter, key) == b"data"
