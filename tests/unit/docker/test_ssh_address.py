import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depotlab._docker import SshAddress
from depotlab.errors import UsageError


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        pytest.param("ssh://far", SshAddress("far"), id="a host"),
        pytest.param("ssh://Far", SshAddress("Far"), id="an alias keeps its capitals"),
        pytest.param("ssh://me@far:22", SshAddress("far", "me", "22"), id="user and port"),
        pytest.param("ssh://far/", SshAddress("far"), id="a slash is no socket"),
        pytest.param("ssh://far/run/x.sock", SshAddress("far", "", "", "/run/x.sock"), id="socket"),
        pytest.param("ssh://[::1]:22", SshAddress("::1", "", "22"), id="IPv6"),
        pytest.param("ssh://a%40b@far", SshAddress("far", "a@b"), id="escapes"),
    ],
)
def test_addresses_are_taken_apart(address, expected):
    assert SshAddress.parse(address) == expected


@pytest.mark.parametrize(
    "address",
    [
        "ssh://",
        "ssh://@far",
        "ssh://me@",
        "ssh://far?x=1",
        "ssh://far#x",
        "ssh://far:x",
        "ssh://-oX",
        "ssh://far/%00",
        "ssh://far/a%0ab",
    ],
)
def test_what_is_no_address_is_refused(address):
    with pytest.raises(UsageError, match="not an address for ssh"):
        SshAddress.parse(address)


def test_a_password_is_refused_and_not_shown():
    with pytest.raises(UsageError) as caught:
        SshAddress.parse("ssh://me:planted@far")
    assert "planted" not in str(caught.value)


@given(st.lists(st.text(min_size=1).filter(lambda t: "\0" not in t), min_size=1))
def test_the_shell_over_there_reads_the_words_as_they_were(words):
    argv = SshAddress("far").argv(*words)
    # As ssh does it: joined with spaces, for a shell.
    assert shlex.split(" ".join(argv[argv.index("--") + 2 :])) == words
