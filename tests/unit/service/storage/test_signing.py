"""Addresses of the store in a folder: what is signed, what keys may be, and where they lead."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from depotlab.service._storage.shelf import Shelf
from depotlab.service._storage.signing import Denied, Signer, is_key

SECRET = b"s" * 32
NOW_S = 1_700_000_000.9


def signer(now_s: float = NOW_S) -> Signer:
    return Signer(SECRET, now_s=lambda: now_s)


def taken_apart(address: str) -> tuple[str, str]:
    path, _, query = address.partition("?")
    return unquote(path.removeprefix("/")), query


@given(key=st.text(min_size=1), max_bytes=st.integers(0, 1 << 40))
def test_an_address_says_its_key_and_size(key: str, max_bytes: int) -> None:
    assume(is_key(key))
    address = signer().sign("PUT", key, expires_s=900, max_bytes=max_bytes)
    found, query = taken_apart(address)
    assert found == key
    assert signer().check("PUT", found, query) == max_bytes
    with pytest.raises(Denied, match="not given out"):
        signer().check("GET", found, query)


@given(key=st.text(), other=st.text())
def test_no_two_keys_share_an_address(key: str, other: str) -> None:
    assume(key != other)
    _, query = taken_apart(signer().sign("GET", "p/1", expires_s=9))
    for one in (key, other):
        if one != "p/1":
            with pytest.raises(Denied):
                signer().check("GET", one, query)


@given(query=st.text())
def test_any_other_query_is_denied(query: str) -> None:
    with pytest.raises(Denied):
        signer().check("PUT", "p/1", query)


def test_an_address_is_good_until_its_moment() -> None:
    _, query = taken_apart(signer().sign("GET", "p/1", expires_s=10))
    assert signer(NOW_S + 9).check("GET", "p/1", query) == 0
    with pytest.raises(Denied, match="expired"):
        signer(NOW_S + 10).check("GET", "p/1", query)


def test_another_secret_signs_otherwise() -> None:
    _, query = taken_apart(Signer(b"other" * 8, now_s=lambda: NOW_S).sign("GET", "p", expires_s=9))
    with pytest.raises(Denied):
        signer().check("GET", "p", query)


@given(st.text(st.sampled_from("ab./\\\0\n%~é "), max_size=30))
def test_no_key_leads_out_of_the_folder(key: str) -> None:
    shelf = Shelf(Path("/store"))
    if is_key(key):
        path = shelf.path(key)
        assert path.parent == Path("/store/contexts")
        assert not path.name.startswith(".")
        assert path.name.isascii()
    else:
        with pytest.raises(FileNotFoundError):
            shelf.path(key)


@given(st.sets(st.text(min_size=1, max_size=12), min_size=2, max_size=5))
def test_no_two_keys_share_a_file(keys: set[str]) -> None:
    good = [key for key in keys if is_key(key)]
    shelf = Shelf(Path("/store"))
    assert len({shelf.path(key) for key in good}) == len(good)
