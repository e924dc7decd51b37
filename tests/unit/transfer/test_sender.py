from __future__ import annotations

import pytest

from depotlab._transfer import Entry, Finished, ReceiverFailed, Sender, Wanted, filemode
from depotlab._transfer.packets import FIN, data_head, encode_error, encode_request
from depotlab.errors import ProtocolError

FILE = Entry(b"f", 0o644, 5, 1, inode=99)
DIRECTORY = Entry(b"d", filemode.DIR | 0o755, 0, 1)
LINK = Entry(b"l", filemode.SYMLINK | 0o777, 1, 1, b"f")


def listed(*entries: Entry) -> Sender:
    sender = Sender()
    sender.stats(list(entries))
    return sender


def test_numbers_count_every_entry_from_nought() -> None:
    sender = listed(DIRECTORY, LINK, FILE)
    assert sender.receive(encode_request(2)) == Wanted(2, b"f", 5, 99)
    assert sender.n_listed == 3


def test_a_file_may_be_asked_for_while_others_are_still_listed() -> None:
    sender = listed(FILE)
    assert isinstance(sender.receive(encode_request(0)), Wanted)
    sender.stats([Entry(b"g", 0o644, 0, 1)])
    assert isinstance(sender.receive(encode_request(1)), Wanted)


def test_nothing_can_be_listed_after_the_end_and_the_end_is_sent_once() -> None:
    sender = listed(FILE)
    assert sender.end_of_list() == b""
    with pytest.raises(RuntimeError, match="crash"):
        sender.stats([FILE])
    with pytest.raises(RuntimeError, match="once"):
        sender.end_of_list()


@pytest.mark.parametrize(
    "entry_id",
    [
        pytest.param(0, id="a directory"),
        pytest.param(1, id="a link"),
        pytest.param(3, id="not listed"),
    ],
)
def test_only_files_that_were_listed_can_be_asked_for(entry_id: int) -> None:
    with pytest.raises(ProtocolError, match=f"entry {entry_id}"):
        listed(DIRECTORY, LINK, FILE).receive(encode_request(entry_id))


def test_a_file_can_be_asked_for_once() -> None:
    sender = listed(FILE)
    sender.receive(encode_request(0))
    with pytest.raises(ProtocolError, match="asked for before"):
        sender.receive(encode_request(0))


def test_fin_is_answered_with_fin_when_everything_is_sent() -> None:
    sender = listed(FILE)
    sender.end_of_list()
    wanted = sender.receive(encode_request(0))
    assert isinstance(wanted, Wanted)
    with pytest.raises(ProtocolError, match="1 files"):
        sender.receive(FIN)
    assert sender.end_of_file(wanted) == data_head(0, 0)
    assert sender.receive(FIN) == Finished(FIN)


def test_fin_before_the_end_of_the_list_is_an_error() -> None:
    with pytest.raises(ProtocolError):
        listed(FILE).receive(FIN)


def test_the_receiver_may_give_up() -> None:
    with pytest.raises(ReceiverFailed, match="disk full"):
        listed(FILE).receive(encode_error("disk full"))


@pytest.mark.parametrize("message", [b"", data_head(0, 0), b"\xff"])
def test_packets_that_a_receiver_does_not_send_are_errors(message: bytes) -> None:
    with pytest.raises(ProtocolError):
        listed(FILE).receive(message)
