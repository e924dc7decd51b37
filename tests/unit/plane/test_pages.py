"""Lists in pages."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depotlab._plane.ids import ID_ALPHABET, new_id
from depotlab._plane.pages import DEFAULT_PAGE, LONGEST_PAGE, window
from depotlab._serving import Fault


@given(st.lists(st.integers(1, 10**19), unique=True, max_size=40), st.integers(1, 7))
def test_following_the_tokens_gives_every_row_once_and_in_order(rows, size):
    rows, token, seen = sorted(rows), "", []
    while True:
        page = window("rows", size, token)
        found = [row for row in rows if page.after is None or row > page.after][: page.size + 1]
        part, token = page.cut(found, lambda row: row)
        assert len(part) <= size
        seen += part
        if not token:
            break
    assert seen == rows


@pytest.mark.parametrize(
    ("asked", "size"), [(0, DEFAULT_PAGE), (-3, DEFAULT_PAGE), (7, 7), (10**6, LONGEST_PAGE)]
)
def test_nonsense_about_the_size_is_put_right(asked, size):
    assert window("rows", asked, "").size == size


@pytest.mark.parametrize("token", ["x", "!!!", "AAAA", "cm93cyBub251bWJlcg", "é"])
def test_a_token_that_is_none_is_refused(token):
    with pytest.raises(Fault) as caught:
        window("rows", 5, token)
    assert caught.value.code == "invalid_argument"


def test_a_token_of_another_list_is_refused():
    _, token = window("builds of p", 1, "").cut([1, 2], lambda row: row)
    with pytest.raises(Fault, match="another list"):
        window("builds of q", 1, token)


def test_identifiers_are_ten_digits_and_consonants():
    found = {new_id() for _ in range(200)}
    assert len(found) == 200
    assert all(len(one) == 10 and set(one) <= set(ID_ALPHABET) for one in found)
