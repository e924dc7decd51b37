"""`depotlab serve token`: tokens that a service with the same state folder takes, and command lines that are wrong."""

import argparse
import asyncio
import os
import resource

import pytest

from depotlab.cli import main
from depotlab.service import Depot
from depotlab.service._serve.command import _allow_files, _config, _tell
from tests.support.servicehttp import fetch, running


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "service.toml"
    path.write_text('state = "state"\n')
    return path


def said(capsys, *arguments):
    assert main(["serve", *map(str, arguments)]) == 0
    return capsys.readouterr().out.strip()


def test_a_token_is_good_at_once_and_until_it_is_revoked(tmp_path, capsys):
    async def command(*arguments):
        """In a thread, where a command may have an event loop of its own."""
        return await asyncio.to_thread(said, capsys, *arguments)

    async def work(found):
        state = ("--state", tmp_path)
        secret = await command("token", "create", *state, "--project", "shop", "--may", "read")
        url = f"{found.url}/v1/builds"
        assert (await fetch(url, token=secret)).status == 200
        listed = await command(*state, "token", "list")
        token_id, *words = listed.split()
        assert words == ["read", "shop", "for", "ever", "for", "shop"]
        assert secret not in listed
        await command("token", "revoke", token_id, *state)
        assert (await fetch(url, token=secret)).status == 401

    running(tmp_path, work)


def test_the_state_may_come_from_the_configuration(config, capsys):
    secret = said(capsys, "token", "create", "--config", config, "--all-projects", "--days", "1")
    assert secret.startswith("depotlab_service_")
    assert (config.parent / "state" / "service.sqlite3").stat().st_mode & 0o077 == 0
    assert "all projects  until" in said(capsys, "--config", config, "token", "list")


def test_tokens_need_no_secret_of_the_service(config, capsys, monkeypatch):
    monkeypatch.delenv("DEPOTLAB_REGISTRY_PASSWORD", raising=False)
    config.write_text('[registry]\nrepository = "ghcr.io/acme/apps"\nuser = "acme"\n')
    state = config.parent / "state"
    assert said(capsys, "token", "list", "--config", config, "--state", state) == ""
    assert main(["serve", "--config", str(config)]) == 1
    assert "set the variable DEPOTLAB_REGISTRY_PASSWORD" in capsys.readouterr().err


def test_local_leaves_what_new_projects_are_like(config):
    config.write_text('[depot]\nurl = "https://depot.test"\nname_prefix = "acme"\ncache_gb = 50\n')
    given = argparse.Namespace(config=config, state=None, local=True)
    assert _config(given).options["depot"] == Depot(local=True, name_prefix="acme", cache_gb=50)


def test_many_logs_can_be_followed_where_the_system_allows_it():
    before = soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 512), hard))
        _allow_files()
        now, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert now == (65_536 if hard == resource.RLIM_INFINITY else min(hard, 65_536))


def test_a_service_goes_on_when_nobody_reads_what_it_says(monkeypatch):
    read, write = os.pipe()
    os.close(read)
    with open(write, "w") as out:
        monkeypatch.setattr("sys.stdout", out)
        _tell("draining: 1 build runs")
        _tell("stopped")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(["token", "create"], "--all-projects", id="no project"),
        pytest.param(
            ["token", "create", "--project", "a", "--all-projects"], "--all-projects", id="both"
        ),
        pytest.param(
            ["token", "create", "--project", "a", "--days", "0"], "expires_s", id="no day"
        ),
        pytest.param(["token", "revoke", "nope"], "nope", id="no such token"),
        pytest.param(["--tls", "one.pem"], "--tls", id="half of a certificate"),
        pytest.param(["--config", "missing.toml"], "missing.toml", id="no such file"),
        pytest.param(["--host", "192.0.2.1", "--local"], "needs TLS", id="in plain"),
    ],
)
def test_a_wrong_command_line_is_told(tmp_path, capsys, arguments, words):
    assert main(["serve", "--state", str(tmp_path / "state"), *arguments]) == 1
    assert words in capsys.readouterr().err


def test_a_wrong_configuration_is_told_with_its_line(config, capsys):
    config.write_text("[limits]\nmax_runing = 1\n")
    assert main(["serve", "--config", str(config)]) == 1
    assert f"{config}, line 2" in capsys.readouterr().err
