"""A whole plane comes and goes: one for each folder, the same again after a restart."""

import argparse
import asyncio
import importlib.util
import os
import signal
import socket
import stat

import pytest

from depotlab._plane import command, status
from depotlab._plane import up as up_module
from depotlab._plane.presence import plane_dir
from depotlab.errors import EngineError, MissingExtra, UsageError
from tests.support.planeparts import FakeMachines, FakeRegistry, fetch, plane


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def remembered(monkeypatch):
    """`up` with machines that are only remembered."""
    machines = FakeMachines()

    def make_machines(_folder, *, keeper, **_options):
        machines.keeper = keeper
        return machines

    def make_registry(_folder, *, admit, **_options):
        return FakeRegistry(admit)

    monkeypatch.setattr(up_module, "_machines", make_machines)
    monkeypatch.setattr(up_module, "_registry", make_registry)
    return machines


def options(*arguments):
    parser = argparse.ArgumentParser()
    command.add_parser(parser.add_subparsers())
    return parser.parse_args(["up", *map(str, arguments)])


def test_a_restart_keeps_projects_tokens_port_and_environment(tmp_path):
    async def run():
        async with plane(tmp_path) as first:
            environment = dict(first.environment)
            made = first.parts.store.create_project("kept").project_id
        async with plane(tmp_path) as again:
            assert again.environment == environment
            assert again.parts.store.project(made).name == "kept"

    asyncio.run(run())


def test_another_port_is_taken_when_that_of_the_last_time_is_in_use(tmp_path):
    async def run():
        async with plane(tmp_path) as first:
            url = first.url
        port = int(url.rpartition(":")[2])
        with socket.create_server(("127.0.0.1", port)):
            async with plane(tmp_path) as again:
                assert again.url != url
            with pytest.raises(EngineError, match=f"cannot listen on 127.0.0.1:{port}"):
                async with plane(tmp_path, port=port):
                    pass

    asyncio.run(run())


def test_a_second_plane_in_the_same_folder_is_refused_and_told_where_the_first_one_is(tmp_path):
    async def run():
        async with plane(tmp_path) as first:
            with pytest.raises(EngineError, match=first.url):
                async with plane(tmp_path):
                    pass
            found = status(tmp_path)
            assert (found.running, found.pid, found.url) == (True, os.getpid(), first.url)
            assert found.registry == "localhost:5999"
            assert found.organization == first.environment["DEPOT_ORG_ID"]
            assert found.project == first.environment["DEPOT_PROJECT_ID"]
        assert not status(tmp_path).running
        async with plane(tmp_path):
            pass

    asyncio.run(run())
    assert not status(tmp_path / "nowhere").running


def test_everything_in_the_folder_is_its_owners_alone(tmp_path):
    async def run():
        async with plane(tmp_path / "state", tls=True) as found:
            found.write_env_file(tmp_path / "env")
            folder = found.state
            assert mode(folder) == 0o700
            modes = {path.name: mode(path) for path in folder.iterdir() if path.is_file()}
            assert {"plane.db", "organization-token", "plane.json", "port"} <= modes.keys()
            assert {name for name, found in modes.items() if found & 0o077} == set()

    asyncio.run(run())
    assert mode(tmp_path / "env") == 0o600


def test_the_environment_file_holds_what_official_clients_read(tmp_path):
    async def run():
        async with plane(tmp_path) as found:
            path = tmp_path / "env"
            path.write_text("what was there before")
            path.chmod(0o644)
            found.write_env_file(path)
            lines = dict(line.split("=", 1) for line in path.read_text().splitlines())
            assert lines == dict(found.environment)
            assert lines["DEPOT_API_URL"] == found.url
            assert lines["DEPOT_TOKEN"].startswith("depotlab_organization_")
            assert lines["DEPOT_NO_UPDATE_NOTIFIER"] == "1"
            assert mode(path) == 0o600
            with pytest.raises(EngineError, match="cannot be written"):
                found.write_env_file(tmp_path / "nowhere" / "env")

    asyncio.run(run())


def test_a_token_file_that_was_lost_is_made_anew(tmp_path):
    async def run():
        async with plane(tmp_path) as first:
            before = first.environment["DEPOT_TOKEN"]
        (tmp_path / "organization-token").unlink()
        async with plane(tmp_path) as again:
            assert again.environment["DEPOT_TOKEN"] != before

    asyncio.run(run())


def test_a_part_that_cannot_start_leaves_nothing_behind(tmp_path):
    class Broken(FakeMachines):
        async def start(self):
            raise EngineError("no gate")

    async def run():
        with pytest.raises(EngineError, match="no gate"):
            async with plane(tmp_path, machines=Broken()):
                pass
        async with plane(tmp_path) as found:
            assert (await fetch(f"{found.url}/")).status == 200

    asyncio.run(run())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_it_gracefully(tmp_path, capsys, monkeypatch, remembered, number):
    def stop(plane, env_file):
        shown(plane, env_file)
        os.kill(os.getpid(), number)

    shown = command._ready
    monkeypatch.setattr(command, "_ready", stop)
    env_file = tmp_path / "env"
    before = signal.getsignal(number)
    found = options("--state", tmp_path / "state", "--env-file", env_file)
    assert command.run(found) == 0
    assert signal.getsignal(number) == before
    assert remembered.told[-1] == ("close",)
    out = capsys.readouterr().out
    assert "Depot is at http://127.0.0.1:" in out
    assert out.endswith("stopped\n")
    # Whoever wants the token in a file may not want it on the screen.
    assert "depotlab_organization_" not in out
    assert "DEPOT_TOKEN=depotlab_organization_" in env_file.read_text()


def test_without_a_file_the_environment_is_printed(tmp_path, capsys, monkeypatch, remembered):
    def stop(plane, env_file):
        shown(plane, env_file)
        os.kill(os.getpid(), signal.SIGTERM)

    shown = command._ready
    monkeypatch.setattr(command, "_ready", stop)
    assert command.run(options("--state", tmp_path)) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("  export DEPOT_TOKEN=depotlab_organization_") for line in lines)


def test_status_says_where_one_runs_and_what_it_does(tmp_path, capsys):
    async def run():
        async with plane(tmp_path) as found:
            code = await asyncio.to_thread(command.run, options("--state", tmp_path, "--status"))
            return code, found.url, found.environment["DEPOT_TOKEN"]

    code, url, token = asyncio.run(run())
    out = capsys.readouterr().out
    assert code == 0
    assert url in out
    assert "0 running" in out
    for name in ("caches ", "images ", "history "):
        (line,) = [line for line in out.splitlines() if line.startswith(name)]
        assert line.split()[-1] in ("B", "kB", "MB")
    assert token not in out
    assert command.run(options("--state", tmp_path, "--status")) == 3
    assert "stopped" in capsys.readouterr().out


@pytest.mark.parametrize("port", ["-1", "65536", "x"])
def test_a_port_that_is_none_is_refused(port, capsys):
    with pytest.raises(SystemExit):
        options("--port", port)
    assert "--port" in capsys.readouterr().err


def test_without_its_packages_the_extra_is_named(monkeypatch, tmp_path):
    real = importlib.util.find_spec
    hidden = {"hypercorn": None}
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: hidden[name] if name in hidden else real(name)
    )
    with pytest.raises(MissingExtra, match="depotlab up") as caught:
        command.run(options("--state", tmp_path))
    assert caught.value.extra == "plane"
    # To look needs none of them.
    assert command.run(options("--state", tmp_path, "--status")) == 3


def test_half_a_certificate_is_refused(tmp_path):
    with pytest.raises(UsageError, match="a certificate and its key"):
        command.run(options("--state", tmp_path, "--tls", "cert.pem"))


def test_the_folder_can_be_named_by_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("DEPOTLAB_PLANE", str(tmp_path / "there"))
    assert plane_dir() == tmp_path / "there"
    assert plane_dir(tmp_path) == tmp_path
    monkeypatch.delenv("DEPOTLAB_PLANE")
    monkeypatch.setenv("DEPOTLAB_STATE", str(tmp_path / "engine"))
    assert plane_dir() == tmp_path / "engine" / "plane"
    monkeypatch.delenv("DEPOTLAB_STATE")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert plane_dir() == tmp_path / "depotlab" / "plane"
