"""The protocol of agents, against signatures that another library verifies."""

from __future__ import annotations

import base64
import struct

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from hypothesis import given
from hypothesis import strategies as st

from depotlab import ssh
from depotlab._session.sshagent import (
    FAILURE,
    MAX_FRAME_BYTES,
    Frames,
    FrameTooLong,
    KeyAgent,
    frame,
    is_allowed,
)
from tests.support.sshkeys import KINDS, pem, private_key, public_line

LIST = b"\x0b"
DATA = b"what is signed"


def text(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


def texts(data: bytes) -> list[bytes]:
    """Take apart what consists of strings only."""
    out, at = [], 0
    while at < len(data):
        (length,) = struct.unpack_from(">I", data, at)
        out.append(data[at + 4 : at + 4 + length])
        at += 4 + length
    assert at == len(data)
    return out


def blob(kind: str) -> bytes:
    return base64.b64decode(public_line(kind).split()[1])


def sign_request(kind: str, flags: int = 0, data: bytes = DATA) -> bytes:
    return b"\x0d" + text(blob(kind)) + text(data) + struct.pack(">I", flags)


def agent(*kinds: str) -> KeyAgent:
    return KeyAgent(ssh.keys(*(pem(kind) for kind in kinds)).check().keys)


def verify(kind: str, name: bytes, signature: bytes, data: bytes = DATA) -> None:
    public = private_key(kind).public_key()
    if kind == "ed25519":
        assert name == b"ssh-ed25519"
        public.verify(signature, data)
    elif kind == "rsa":
        by_name = {
            b"ssh-rsa": hashes.SHA1,
            b"rsa-sha2-256": hashes.SHA256,
            b"rsa-sha2-512": hashes.SHA512,
        }
        public.verify(signature, data, padding.PKCS1v15(), by_name[name]())
    else:
        by_bits = {b"256": hashes.SHA256, b"384": hashes.SHA384, b"521": hashes.SHA512}
        r, s = (int.from_bytes(one, "big", signed=True) for one in texts(signature))
        der = encode_dss_signature(r, s)
        public.verify(der, data, ec.ECDSA(by_bits[name.removeprefix(b"ecdsa-sha2-nistp")]()))


def test_keys_are_listed_in_order_with_their_names() -> None:
    answer = agent(*KINDS).answer(LIST)
    assert answer[:5] == b"\x0c" + struct.pack(">I", len(KINDS))
    listed = texts(answer[5:])
    assert listed[0::2] == [blob(kind) for kind in KINDS]
    assert listed[1::2] == [f"key {n}".encode() for n in range(1, len(KINDS) + 1)]


@pytest.mark.parametrize("kind", KINDS)
def test_signatures_are_those_of_the_key(kind: str) -> None:
    holder = agent(*KINDS)
    for data in (DATA, b"", b"x" * 100_000):
        answer = holder.answer(sign_request(kind, data=data))
        assert answer[0] == 14
        (signature,) = texts(answer[1:])
        name, value = texts(signature)
        verify(kind, name, value, data)
        with pytest.raises(InvalidSignature):
            verify(kind, name, value, data + b"!")


@pytest.mark.parametrize(
    ("flags", "name"),
    [(0, b"ssh-rsa"), (2, b"rsa-sha2-256"), (4, b"rsa-sha2-512"), (6, b"rsa-sha2-256")],
)
def test_flags_choose_the_hash_of_an_rsa_signature(flags: int, name: bytes) -> None:
    (signature,) = texts(agent("rsa").answer(sign_request("rsa", flags))[1:])
    found, value = texts(signature)
    assert found == name
    verify("rsa", found, value)


def test_numbers_are_never_negative() -> None:
    holder = agent("ecdsa-256")
    for _ in range(40):  # the first bit of either number is set every second time
        (signature,) = texts(holder.answer(sign_request("ecdsa-256"))[1:])
        for number in texts(texts(signature)[1]):
            assert number[0] < 0x80
            assert len(number) == 1 or number[0] or number[1] >= 0x80, "not the shortest form"


def test_a_key_that_is_not_there_signs_nothing() -> None:
    assert agent("ed25519").answer(sign_request("rsa")) == FAILURE


@given(st.binary(max_size=200))
def test_requests_that_are_cut_or_mangled_are_refused(rest: bytes) -> None:
    assert agent("ed25519").answer(b"\x0d" + rest) == FAILURE


def test_every_cut_of_a_request_is_refused() -> None:
    holder, whole = agent("ed25519"), sign_request("ed25519")
    for end in range(1, len(whole)):
        assert holder.answer(whole[:end]) == FAILURE


def test_a_build_may_list_and_sign_and_nothing_else() -> None:
    assert [kind for kind in range(256) if is_allowed(bytes((kind, 0)))] == [11, 13]


@given(st.lists(st.binary(min_size=1, max_size=50)), st.data())
def test_frames_do_not_depend_on_how_the_bytes_are_cut(
    messages: list[bytes], data: st.DataObject
) -> None:
    stream = b"".join(map(frame, messages))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)))))
    frames = Frames()
    found = []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        found += frames.feed(stream[start:end])
    assert found == messages


@pytest.mark.parametrize("length", [0, MAX_FRAME_BYTES + 1, 2**32 - 1])
def test_a_frame_of_a_length_that_nobody_means_is_refused_before_it_arrives(length: int) -> None:
    with pytest.raises(FrameTooLong, match=str(length)):
        Frames().feed(frame(LIST) + struct.pack(">I", length))


def test_the_longest_frame_is_taken() -> None:
    message = b"\x0d" + bytes(MAX_FRAME_BYTES - 1)
    assert Frames().feed(frame(message)) == [message]
