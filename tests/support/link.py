"""A long or slow link between two network namespaces of this machine, for measuring what distance costs.

One process, the *relay*, owns a TUN device on either side of an imaginary wire: one in the caller's network
namespace, one in a namespace of its own, which has no other network. Every IP packet that leaves by one device is
kept for half a round trip and then comes out of the other. With a rate limit, packets of one direction follow each
other no faster than on the wire, and what does not fit into the buffer before it is dropped. So both ends speak
real TCP over the distance: congestion windows, slow start and retransmissions are the kernel's own, which a relay of
byte streams would hide. (`tc netem` would do the same; many kernels, those of small virtual machines above all,
come without it.)

The kernel hands over up to 64 KiB of TCP segments as one packet, with a note of the size into which they are to
be cut (`IFF_VNET_HDR`), and takes them back in that form. A Python loop is fast enough for that;
`Link.throughput_mbit_s` says how fast.

Needs root, `/dev/net/tun`, `ip` and `nsenter`. Nothing of it outlives the relay, however that ends: devices and
namespace go with its descriptors. Sources: Linux Documentation/networking/tuntap.rst, include/uapi/linux/if_tun.h,
include/uapi/linux/virtio_net.h.
"""

from __future__ import annotations

import ctypes
import fcntl
import ipaddress
import os
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

_NETWORK = ipaddress.ip_network("198.18.0.0/15")
"""Addresses for measuring networks: RFC 2544, appendix C.2.2. Each link takes four of them."""
_TUNSETIFF, _TUNSETOFFLOAD = 0x400454CA, 0x400454D0
_IFF_TUN, _IFF_NO_PI, _IFF_VNET_HDR = 0x0001, 0x1000, 0x4000
_TUN_F_CSUM, _TUN_F_TSO4 = 0x01, 0x02
_CLONE_NEWNET = 0x4000_0000
_PR_SET_PDEATHSIG = 1
_VNET_HEADER = struct.Struct("<BBHHHH")  # flags, kind, header length, segment size, checksum at
_MOST_BYTES = 65536 + _VNET_HEADER.size
_MTU_BYTES = 1500
_SEGMENT_HEADERS_BYTES = (
    52  # IPv4, TCP, its time stamps: what each further segment adds on the wire
)
_LEAST_BUFFER_BYTES = 512 << 10  # no less than what the kernel hands over at once, several times
_QUEUE_LENGTH = 10_000  # of the devices, so that only the wire's own buffer drops


@dataclass(frozen=True, slots=True)
class Shape:
    """What the wire is like, in either direction.

    Attributes:
        rtt_ms: Round trip time, half of it each way.
        rate_mbit_s: Megabits a second of IP packets; 0 sets no limit.
    """

    rtt_ms: float
    rate_mbit_s: float = 0.0

    def __str__(self) -> str:
        rate = f", {self.rate_mbit_s / 1000:g} Gbit/s" if self.rate_mbit_s >= 1000 else ""
        rate = rate or (f", {self.rate_mbit_s:g} Mbit/s" if self.rate_mbit_s else "")
        return f"{self.rtt_ms:g} ms{rate}"


class NoLink(RuntimeError):
    """The link cannot be made on this machine; the message says why."""


class Link:
    """The wire, from its making to `close`. The other end is entered with the command prefix `enter`.

    Attributes:
        here: IP address of the caller's end.
        there: Of the other end.
    """

    def __init__(self) -> None:
        for program in ("ip", "nsenter"):
            if shutil.which(program) is None:
                raise NoLink(f"there is no program `{program}`")
        if os.geteuid() != 0:
            raise NoLink("only root may make network devices")
        if not os.path.exists("/dev/net/tun"):
            raise NoLink("the kernel has no TUN devices (/dev/net/tun)")
        self._relay = subprocess.Popen(
            [sys.executable, "-I", "-S", __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.here, self.there = addresses(self._relay.pid)
        if self._answer() != "ready":
            self._relay.wait(10)
            assert self._relay.stderr is not None
            trouble = self._relay.stderr.read().strip().splitlines()[-1:]
            raise NoLink(f"the relay does not start: {' '.join(trouble)}")

    @property
    def enter(self) -> list[str]:
        """What to put before a command so that it runs at the other end."""
        return ["nsenter", f"--net=/proc/{self._relay.pid}/ns/net", "--"]

    def shape(self, shape: Shape) -> None:
        """Change what the wire is like, for packets that come from now on."""
        assert self._relay.stdin is not None
        self._relay.stdin.write(f"{shape.rtt_ms} {shape.rate_mbit_s}\n")
        self._relay.stdin.flush()
        if self._answer() != "shaped":
            raise NoLink("the relay has ended")

    def rtt_ms(self) -> float:
        """Measure the round trip: the time of a TCP connect, the best of three."""
        with socket.create_server((self.here, 0)) as server:
            port = server.getsockname()[1]
            done = self._there(
                "import socket, sys, time\n"
                "best = 1e9\n"
                "for _ in range(3):\n"
                "    began = time.perf_counter()\n"
                "    socket.create_connection((sys.argv[1], int(sys.argv[2]))).close()\n"
                "    best = min(best, time.perf_counter() - began)\n"
                "print(best * 1000)\n",
                self.here,
                str(port),
            )
        return float(done)

    def throughput_mbit_s(self, *, duration_s: float = 2.0) -> float:
        """Measure what one TCP connection brings from the other end, after a second of warming up."""
        with socket.create_server((self.here, 0)) as server:
            port = server.getsockname()[1]
            sender = threading.Thread(
                target=self._there,
                args=(
                    "import socket, sys, time\n"
                    "out = socket.create_connection((sys.argv[1], int(sys.argv[2])))\n"
                    "ends = time.monotonic() + float(sys.argv[3])\n"
                    "while time.monotonic() < ends:\n"
                    "    out.sendall(bytes(1 << 18))\n",
                    self.here,
                    str(port),
                    str(duration_s + 2.0),
                ),
            )
            sender.start()
            connection, _ = server.accept()
            with connection:
                began_s = time.monotonic()
                n_bytes, from_s, until_s = 0, began_s + 1.0, began_s + 1.0 + duration_s
                while chunk := connection.recv(1 << 18):
                    now_s = time.monotonic()
                    if from_s <= now_s < until_s:
                        n_bytes += len(chunk)
            sender.join()
        return n_bytes * 8 / duration_s / 1e6

    def close(self) -> None:
        """End the relay; devices and namespace go with it."""
        assert self._relay.stdin is not None
        self._relay.stdin.close()
        try:
            self._relay.wait(10)
        except subprocess.TimeoutExpired:
            self._relay.kill()
            self._relay.wait()
        for pipe in (self._relay.stdout, self._relay.stderr):
            assert pipe is not None
            pipe.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _answer(self) -> str:
        assert self._relay.stdout is not None
        return self._relay.stdout.readline().strip()

    def _there(self, code: str, *arguments: str) -> str:
        command = [*self.enter, sys.executable, "-I", "-S", "-c", code, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout


# ------------------------------------------------------------------------------------ the relay


class Direction:
    """Packets that came in by one device and have not yet come out of the other."""

    def __init__(self, source: int, target: int) -> None:
        self.source = source
        self.target = target
        self.waiting: deque[tuple[float, bytes]] = deque()
        self.shape(Shape(0.0))
        self._free_at_s = 0.0  # when the wire has taken all that was put on it

    def shape(self, shape: Shape) -> None:
        self._delay_s = shape.rtt_ms / 2000
        self._bytes_s = shape.rate_mbit_s * 1e6 / 8
        self._buffer_bytes = max(_LEAST_BUFFER_BYTES, self._bytes_s * self._delay_s * 2)

    def take(self, now_s: float) -> None:
        """Read all packets that are there, and say when each is due."""
        for _ in range(64):
            try:
                packet = os.read(self.source, _MOST_BYTES)
            except BlockingIOError:
                return
            sent_s = now_s
            if self._bytes_s:
                sent_s = max(now_s, self._free_at_s)
                if (sent_s - now_s) * self._bytes_s > self._buffer_bytes:
                    continue  # the buffer is full: dropped, as a router does
                sent_s = self._free_at_s = sent_s + wire_bytes(packet) / self._bytes_s
            self.waiting.append((sent_s + self._delay_s, packet))

    def give(self, now_s: float) -> None:
        """Write all packets that are due."""
        while self.waiting and self.waiting[0][0] <= now_s:
            _, packet = self.waiting.popleft()
            with suppress(BlockingIOError):  # the other side does not keep up: dropped
                os.write(self.target, packet)


def wire_bytes(packet: bytes) -> int:
    """Return how many bytes of IP the packet is once it has been cut into segments."""
    _, kind, header_bytes, segment_bytes, _, _ = _VNET_HEADER.unpack_from(packet)
    n_bytes = len(packet) - _VNET_HEADER.size
    if not kind or not segment_bytes:
        return n_bytes
    n_segments: int = -(-(n_bytes - header_bytes) // segment_bytes)
    return n_bytes + (n_segments - 1) * _SEGMENT_HEADERS_BYTES


def addresses(pid: int) -> tuple[str, str]:
    """Return the addresses of both ends of the link of a relay: several may be there at a time."""
    first = _NETWORK[pid * 4 % _NETWORK.num_addresses]
    return str(first + 1), str(first + 2)


def open_device(name: str, address: str, peer: str) -> int:
    """Make a TUN device in the present namespace, give it an address, and return its descriptor."""
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    flags = _IFF_TUN | _IFF_NO_PI | _IFF_VNET_HDR
    fcntl.ioctl(device, _TUNSETIFF, struct.pack("16sH22x", name.encode(), flags))
    fcntl.ioctl(device, _TUNSETOFFLOAD, _TUN_F_CSUM | _TUN_F_TSO4)
    for command in (
        ["address", "add", address, "peer", f"{peer}/32", "dev", name],
        ["link", "set", name, "mtu", str(_MTU_BYTES), "txqueuelen", str(_QUEUE_LENGTH), "up"],
    ):
        subprocess.run(["ip", *command], check=True)
    return device


def relay() -> None:
    """Carry packets until standard input ends; each line of it is a new shape."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever started us decides when to end
    ends = addresses(os.getpid())
    here = open_device(f"dl{os.getpid()}a", *ends)
    if libc.unshare(_CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "no network namespace")
    there = open_device(f"dl{os.getpid()}b", *reversed(ends))
    directions = (Direction(here, there), Direction(there, here))
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    while True:
        now_s = time.monotonic()
        due_s = min((d.waiting[0][0] for d in directions if d.waiting), default=now_s + 1.0)
        ready, _, _ = select.select([here, there, 0], [], [], max(0.0, due_s - now_s))
        now_s = time.monotonic()
        for direction in directions:
            direction.give(now_s)
            if direction.source in ready:
                direction.take(now_s)
            direction.give(now_s)
        if 0 in ready:
            words = sys.stdin.readline().split()
            if not words:
                return
            for direction in directions:
                direction.shape(Shape(*map(float, words)))
            sys.stdout.write("shaped\n")
            sys.stdout.flush()


if __name__ == "__main__":
    relay()
