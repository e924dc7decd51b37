"""A machine as Depot gives it: gRPC over mTLS on loopback, with certificates that a test may spoil."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import socket
import ssl
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

import grpc
import grpc.aio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from depotlab._proto import control_pb2 as control
from depotlab._proto import depot_cli_pb2 as cli
from depotlab._proto import worker_pb2 as worker
from depotlab._rpc import Channel, Endpoint
from depotlab.buildkit import list_workers

__all__ = [
    "Authority",
    "Leaf",
    "Machine",
    "active",
    "pending",
    "probe",
    "refusing_machine",
    "serving_machine",
]

NAME = "machine.test"
_DAY = datetime.timedelta(days=1)


@dataclass(frozen=True)
class Leaf:
    cert: str
    key: str


class Authority:
    """A private authority, as the plane has one."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name("test plane")
        identifier = x509.SubjectKeyIdentifier.from_public_key(self._key.public_key())
        usage = _usage(key_cert_sign=True, crl_sign=True)
        builder = _builder(self._name, self._name, self._key, from_days=-1, to_days=2)
        self._certificate = (
            builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(identifier, critical=False)
            .add_extension(usage, critical=True)
            .sign(self._key, hashes.SHA256())
        )

    @property
    def pem(self) -> str:
        return self._certificate.public_bytes(serialization.Encoding.PEM).decode()

    def leaf(self, name: str = NAME, *, from_days: int = -1, to_days: int = 1) -> Leaf:
        key = ec.generate_private_key(ec.SECP256R1())
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        certificate = (
            _builder(_name(name), self._name, key, from_days=from_days, to_days=to_days)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
            .add_extension(issuer, critical=False)
            .sign(self._key, hashes.SHA256())
        )
        pem = serialization.Encoding.PEM
        private = key.private_bytes(
            pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return Leaf(certificate.public_bytes(pem).decode(), private.decode())


@dataclass
class Machine:
    """What `serving_machine` yields.

    Attributes:
        port: Of loopback.
        n_asked: How often it was asked for its workers.
    """

    port: int
    n_asked: int = 0

    @property
    def address(self) -> str:
        return f"tcp://127.0.0.1:{self.port}"


@asynccontextmanager
async def serving_machine(
    authority: Authority, *, server: Leaf | None = None, port: int = 0
) -> AsyncIterator[Machine]:
    """Listen, and let clients in that have a certificate of the authority."""
    leaf = server or authority.leaf()
    credentials = grpc.ssl_server_credentials(
        [(leaf.key.encode(), leaf.cert.encode())], authority.pem.encode(), True
    )
    machine = Machine(port)
    daemon = grpc.aio.server()
    daemon.add_generic_rpc_handlers((_Workers(machine),))
    machine.port = daemon.add_secure_port(f"127.0.0.1:{port}", credentials)
    await daemon.start()
    try:
        yield machine
    finally:
        await daemon.stop(None)


@contextmanager
def refusing_machine(authority: Authority) -> Iterator[str]:
    """Listen, and tell each client what is wrong with its certificate, as Go's servers do; yields the address."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=authority.pem)
    leaf = authority.leaf()
    with tempfile.NamedTemporaryFile("w") as file:
        file.write(leaf.key + leaf.cert)
        file.flush()
        context.load_cert_chain(file.name)

    def serve() -> None:
        while True:
            try:
                accepted, _ = listener.accept()
            except OSError:  # it was shut down: the test is over
                return
            # A blocking socket: the alert is on its way before the handshake raises.
            with accepted, contextlib.suppress(OSError):
                context.wrap_socket(accepted, server_side=True).close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, name="test-machine")
        thread.start()
        try:
            yield f"tcp://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


class _Workers(grpc.GenericRpcHandler):
    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    def service(self, details):
        async def answer(request, context):
            assert details.method == "/moby.buildkit.v1.Control/ListWorkers"
            self._machine.n_asked += 1
            record = worker.WorkerRecord(ID="w")
            return control.ListWorkersResponse(record=[record]).SerializeToString()

        return grpc.unary_unary_rpc_method_handler(answer)


async def probe(endpoint: Endpoint) -> None:
    """Dial a machine and ask it for its workers."""
    channel = Channel(endpoint)
    try:
        async with asyncio.timeout(30):
            await channel.ready()
            await list_workers(channel)
    finally:
        await channel.close()


def pending(wait_ms: int = 50) -> cli.GetBuildKitConnectionResponse:
    reply = cli.GetBuildKitConnectionResponse()
    reply.pending.wait_ms = wait_ms
    reply.pending.SetInParent()
    return reply


def active(
    address: str, authority: Authority, client: Leaf | None = None, *, server_name: str = NAME
) -> cli.GetBuildKitConnectionResponse:
    leaf = client or authority.leaf("build")
    reply = cli.GetBuildKitConnectionResponse()
    reply.active.endpoint = address
    reply.active.server_name = server_name
    reply.active.ca_cert.cert = authority.pem
    reply.active.cert.cert, reply.active.cert.key = leaf.cert, leaf.key
    reply.active.gzip.SetInParent()
    return reply


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _usage(**on: bool) -> x509.KeyUsage:
    names = (
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
        "encipher_only",
        "decipher_only",
    )
    return x509.KeyUsage(**{name: on.get(name, False) for name in names})


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    *,
    from_days: int,
    to_days: int,
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + from_days * _DAY)
        .not_valid_after(now + to_days * _DAY)
    )
