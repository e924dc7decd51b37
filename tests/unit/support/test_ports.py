"""A port that is held is refused to clients, and open to the server that it is held for."""

from __future__ import annotations

import socket
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from tests.support.ports import held_port


def test_a_server_may_come_go_and_come_again_and_meanwhile_nobody_answers():
    with held_port() as held:
        address = held.getsockname()
        for _ in range(2):
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(address)
            with HTTPServer(address, BaseHTTPRequestHandler):
                socket.create_connection(address).close()


def test_nobody_else_is_given_it():
    with held_port() as held, socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(held.getsockname())
