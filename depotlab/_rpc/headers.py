"""HTTP/2 header blocks: reading any (HPACK), writing the few that a gRPC server needs.

Reading is done here because the `hpack` package copies the rest of the block for every field: a block
of 40 000 fields (a long `.dockerignore` arrives as that many request headers) takes it two seconds in
which no health answer could leave. This reader is linear, about eight times faster there, and takes its
constants (static table, Huffman codes) from that package.

Writing uses no dynamic table: the first block says so (a table size update to zero), and the blocks that
repeat are constants. Source: RFC 7541; the fields are those of grpc/grpc `doc/PROTOCOL-HTTP2.md`.
"""

from __future__ import annotations

from collections import deque

from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH
from hpack.table import HeaderTable

__all__ = ["NO_TABLE", "HeaderBlockInvalid", "HeaderDecoder", "Headers", "encode_field"]

Headers = list[tuple[bytes, bytes]]

TABLE_LIMIT_BYTES = 4096  # SETTINGS_HEADER_TABLE_SIZE is left at its default
ENTRY_OVERHEAD_BYTES = 32  # RFC 7541 4.1; RFC 9113 6.5.2 counts header lists the same way
STATIC = tuple(HeaderTable.STATIC_TABLE)

NO_TABLE = b"\x20"
"""Put before the first block that is written: our encoder keeps no dynamic table."""


class HeaderBlockInvalid(Exception):
    """A block that is not HPACK, or larger than we allow. The connection cannot go on after it."""


# ------------------------------------------------------------------------------------- Huffman

# The code as a binary tree in one dict: node * 2 + bit → next node (≥ 0) or ~symbol (< 0).
_END_OF_STRING = 256


def _tree() -> tuple[dict[int, int], frozenset[int]]:
    edges: dict[int, int] = {}
    n_nodes = 1
    for symbol, (code, n_bits) in enumerate(zip(REQUEST_CODES, REQUEST_CODES_LENGTH, strict=True)):
        node = 0
        for shift in range(n_bits - 1, -1, -1):
            edge = node * 2 + (code >> shift & 1)
            if shift == 0:
                edges[edge] = ~symbol
            elif edge in edges:
                node = edges[edge]
            else:
                edges[edge] = node = n_nodes
                n_nodes += 1
    # Padding is fewer than eight bits, all ones, so a string may end at these nodes only.
    node, ends = 0, {0}
    for _ in range(7):
        node = edges[node * 2 + 1]
        ends.add(node)
    return edges, frozenset(ends)


class _Steps(dict[int, tuple[int, bytes]]):
    """(node << 8 | byte) → (next node, decoded bytes), each computed when first met."""

    def __init__(self) -> None:
        super().__init__()
        self._edges, self.ends = _tree()

    def __missing__(self, key: int) -> tuple[int, bytes]:
        node, byte = key >> 8, key & 0xFF
        out = bytearray()
        for shift in range(7, -1, -1):
            target = self._edges[node * 2 + (byte >> shift & 1)]
            if target >= 0:
                node = target
            elif ~target == _END_OF_STRING:
                raise HeaderBlockInvalid("a Huffman string contains the end-of-string symbol")
            else:
                out.append(~target)
                node = 0
        step = self[key] = (node << 8, bytes(out))
        return step


_steps = _Steps()


def _huffman(data: bytes) -> bytes:
    steps = _steps
    out: list[bytes] = []
    state = 0
    for byte in data:
        state, piece = steps[state | byte]
        out.append(piece)
    if state >> 8 not in steps.ends:
        raise HeaderBlockInvalid("a Huffman string ends inside a symbol")
    return b"".join(out)


# -------------------------------------------------------------------------------------- reading


class HeaderDecoder:
    """Decodes the header blocks of one connection, in the order they arrive."""

    def __init__(self, *, list_limit_bytes: int) -> None:
        self._list_limit_bytes = list_limit_bytes
        self._table: deque[tuple[bytes, bytes]] = deque()  # newest first, as HPACK numbers them
        self._table_bytes = 0
        self._table_limit_bytes = TABLE_LIMIT_BYTES

    def decode(self, block: bytes) -> Headers:
        """Return the fields in order, each name and value as sent.

        Raises:
            HeaderBlockInvalid: The state is unusable afterwards.
        """
        try:
            return self._decode(block)
        except IndexError:
            raise HeaderBlockInvalid("a header block ends inside a field") from None

    def _decode(self, block: bytes) -> Headers:
        headers: Headers = []
        list_bytes = at = 0
        end = len(block)
        while at < end:
            first = block[at]
            if first & 0x80:  # indexed field
                index, at = _integer(block, at, 0x7F)
                field = self._entry(index)
            elif first & 0xE0 == 0x20:  # table size update
                if headers:
                    raise HeaderBlockInvalid("a table size update comes after a field")
                limit, at = _integer(block, at, 0x1F)
                if limit > TABLE_LIMIT_BYTES:
                    raise HeaderBlockInvalid(f"a table of {limit} bytes was not allowed")
                self._table_limit_bytes = limit
                self._evict()
                continue
            else:  # literal, with (01) or without indexing
                index, at = _integer(block, at, 0x3F if first & 0x40 else 0x0F)
                if index:
                    name = self._entry(index)[0]
                else:
                    name, at = _string(block, at)
                value, at = _string(block, at)
                field = (name, value)
                if first & 0x40:
                    self._table.appendleft(field)
                    self._table_bytes += len(name) + len(value) + ENTRY_OVERHEAD_BYTES
                    self._evict()
            headers.append(field)
            list_bytes += len(field[0]) + len(field[1]) + ENTRY_OVERHEAD_BYTES
            if list_bytes > self._list_limit_bytes:
                raise HeaderBlockInvalid(
                    f"a header list is larger than {self._list_limit_bytes} bytes"
                )
        return headers

    def _entry(self, index: int) -> tuple[bytes, bytes]:
        if 0 < index <= len(STATIC):
            return STATIC[index - 1]
        if 0 < index <= len(STATIC) + len(self._table):
            return self._table[index - len(STATIC) - 1]
        raise HeaderBlockInvalid(f"there is no header with index {index}")

    def _evict(self) -> None:
        while self._table_bytes > self._table_limit_bytes:
            name, value = self._table.pop()
            self._table_bytes -= len(name) + len(value) + ENTRY_OVERHEAD_BYTES


def _integer(block: bytes, at: int, mask: int) -> tuple[int, int]:
    """Read a prefixed integer (RFC 7541 5.1); returns it and the position after it."""
    value = block[at] & mask
    at += 1
    if value < mask:
        return value, at
    shift = 0
    while True:
        byte = block[at]
        at += 1
        value += (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 28:
            raise HeaderBlockInvalid("an integer is too long")


def _string(block: bytes, at: int) -> tuple[bytes, int]:
    first = block[at]
    if first & 0x7F == 0x7F:
        length, at = _integer(block, at, 0x7F)
    else:
        length = first & 0x7F
        at += 1
    stop = at + length
    if stop > len(block):
        raise HeaderBlockInvalid("a header block ends inside a field")
    text = block[at:stop]
    return (_huffman(text) if first & 0x80 else text), stop


# -------------------------------------------------------------------------------------- writing


def encode_field(name: bytes, value: bytes) -> bytes:
    """Encode one field as a literal that enters no table."""
    return b"\x00" + _length(name) + name + _length(value) + value


def _length(text: bytes) -> bytes:
    value = len(text)
    if value < 0x7F:
        return bytes((value,))
    out = bytearray((0x7F,))
    value -= 0x7F
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
