"""The client's end: a lease lasts as long as its process, and every way to fail has a name."""

import json
import os
import socket
import threading
import time

import pytest

from depotlab._local import _forks, _lease, _locks
from depotlab.errors import EngineError


class FakeSupervisor:
    """Accepts one client at a time and answers what the test wants."""

    def __init__(self, path) -> None:
        self.path = path
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen()
        self.heard: list[dict] = []

    def serve(self, *answers: dict, then_close: bool = False) -> threading.Thread:
        def run() -> None:
            self.client, _ = self.listener.accept()
            self.heard.append(json.loads(self.client.makefile().readline()))
            for answer in answers:
                self.client.sendall(json.dumps(answer).encode() + b"\n")
            if then_close:
                self.client.close()

        thread = threading.Thread(target=run)
        thread.start()
        return thread

    def is_open(self) -> bool:
        """Return whether the client still holds its end."""
        self.client.settimeout(1.0)
        try:
            return self.client.recv(1) != b""
        except TimeoutError:
            return True


@pytest.fixture
def fake(short_dir):
    made = FakeSupervisor(short_dir / "s")
    yield made
    made.listener.close()
    if hasattr(made, "client"):
        made.client.close()


def take(fake: FakeSupervisor, *answers: dict) -> _lease.Line:
    thread = fake.serve(*answers or ({"event": "ready", "address": "unix:///a"},))
    try:
        return _lease.take(fake.path, timeout_s=60.0)[0]
    finally:
        thread.join()


def test_a_lease_says_whose_it_is_and_lasts_until_it_is_closed(fake) -> None:
    line = take(fake)
    assert fake.heard == [{"do": "lease", "pid": os.getpid()}]
    assert fake.is_open()
    line.close()
    assert not fake.is_open()
    line.close()  # the second time does nothing


def test_a_forgotten_lease_ends(fake) -> None:
    line = take(fake)
    del line
    assert not fake.is_open()


def test_a_forked_child_holds_no_lease(fake) -> None:
    line = take(fake)
    hear, tell = os.pipe()
    child = os.fork()
    if child == 0:
        line.close()  # must not close whatever has the number now
        try:
            line.say("status")
        except _lease.Gone:
            os.write(tell, b"gone")
        time.sleep(30)
        os._exit(0)
    try:
        os.close(tell)
        assert os.read(hear, 10) == b"gone"
        assert fake.is_open()
        line.close()
        assert not fake.is_open(), "the child's copy keeps the lease"
    finally:
        os.close(hear)
        os.kill(child, 9)
        os.waitpid(child, 0)


def test_a_forked_child_holds_no_lock(short_dir) -> None:
    with _locks.held(short_dir / "lock", timeout_s=1, waiting_for="testing"):
        child = os.fork()
        if child == 0:
            time.sleep(30)
            os._exit(0)
    try:
        with _locks.held(short_dir / "lock", timeout_s=1, waiting_for="testing"):
            pass
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)


def test_a_lock_that_stays_taken_is_one_clear_error(short_dir) -> None:
    told: list[str] = []
    with (
        _locks.held(short_dir / "lock", timeout_s=1, waiting_for="testing"),
        pytest.raises(EngineError, match="still testing after 0 s"),
        _locks.held(
            short_dir / "lock",
            timeout_s=0.1,
            waiting_for="testing",
            on_wait=lambda: told.append("waits"),
        ),
    ):
        pytest.fail("two held it")
    assert told == ["waits"]


def test_nobody_listening_and_a_stale_socket_are_both_gone(fake, short_dir) -> None:
    with pytest.raises(_lease.Gone):
        _lease.take(short_dir / "none", timeout_s=1)
    fake.listener.close()
    with pytest.raises(_lease.Gone):
        _lease.take(fake.path, timeout_s=1)


def test_a_supervisor_that_hangs_up_is_gone(fake) -> None:
    thread = fake.serve(then_close=True)
    with pytest.raises(_lease.Gone):
        _lease.take(fake.path, timeout_s=60)
    thread.join()


def test_an_engine_that_fails_says_why_and_shows_its_log(fake) -> None:
    failed = {
        "event": "failed",
        "reason": "buildkitd ended with exit code 1",
        "log_tail": ["a", "b"],
    }
    with pytest.raises(EngineError, match="buildkitd ended with exit code 1") as caught:
        take(fake, failed)
    assert caught.value.log_tail == ("a", "b")
    assert "depotlab doctor" in caught.value.hint


def test_an_engine_that_says_nothing_is_a_timeout(fake) -> None:
    thread = fake.serve()
    with pytest.raises(EngineError, match="not ready after 0 s"):
        _lease.take(fake.path, timeout_s=0.2)
    thread.join()


def test_why_it_ended_is_known_afterwards_and_none_before(fake) -> None:
    line = take(fake)
    assert line.poll_end() is None
    fake.client.sendall(b'{"event": "gone", "reason": "it was told to stop"}\n')
    fake.client.close()
    assert line.poll_end() == "it was told to stop"
    assert line.poll_end() == "it was told to stop"
    line.close()


def test_a_supervisor_that_was_killed_gave_no_reason(fake) -> None:
    line = take(fake)
    fake.client.close()
    assert "supervisor is gone" in (line.poll_end() or "")
    line.close()


def test_lines_do_not_depend_on_how_they_arrive(fake) -> None:
    line = take(fake)
    for piece in (b'{"event": "he', b'ld"}\n{"event"', b': "gone"}\n'):
        fake.client.sendall(piece)
    assert line.hear(timeout_s=60) == {"event": "held"}
    assert line.hear(timeout_s=60) == {"event": "gone"}
    line.close()


def test_no_open_descriptor_is_forgotten(fake) -> None:
    before = set(_forks._mine)  # of an engine that other tests of this process use
    line = take(fake)
    assert _forks._mine - before
    line.close()
    assert _forks._mine == before
