"""`depotlab serve token`: tokens that a service with the same state folder takes, and command lines that are wrong."""

import asyncio

import pytest

from depotlab.cli import main
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
