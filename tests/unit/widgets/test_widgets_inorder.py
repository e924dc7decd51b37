"""What is typed arrives in the order in which it was typed, whatever overtakes what on the way."""

import random
import threading

import pytest

from depotlab.widgets._inorder import InOrder

TEXT = b"echo after-$((40 + 3))\r"
PIECES = [(number, TEXT[number : number + 1]) for number in range(len(TEXT))]


@pytest.mark.parametrize("seed", range(5))
def test_pieces_that_overtake_each_other_are_put_in_order(seed: int) -> None:
    got: list[bytes] = []
    order = InOrder(got.append)
    for number, data in random.Random(seed).sample(PIECES, len(PIECES)):
        order.take("a page", number, data)
    assert b"".join(got) == TEXT


def test_what_is_in_order_does_not_wait() -> None:
    got: list[bytes] = []
    order = InOrder(got.append)
    for number, data in PIECES:
        order.take("a page", number, data)
        assert len(got) == number + 1


def test_a_page_that_is_loaded_again_begins_anew() -> None:
    got: list[bytes] = []
    order = InOrder(got.append)
    for page in ("first", "second"):
        for number, data in PIECES:
            order.take(page, number, data)
    assert b"".join(got) == TEXT + TEXT


def test_two_threads_change_nothing() -> None:
    got: list[bytes] = []
    order = InOrder(got.append)
    halves = [PIECES[::2], PIECES[1::2]]
    threads = [
        threading.Thread(target=lambda half=half: [order.take("a page", *one) for one in half])
        for half in halves
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert b"".join(got) == TEXT
