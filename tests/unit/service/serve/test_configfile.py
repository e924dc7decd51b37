"""`service.toml`: what it may say, and how each mistake is named with its line."""

from pathlib import Path

import pytest

from depotlab.errors import UsageError
from depotlab.service import Depot, Limits, LocalStorage, Registry, Rule, S3Storage
from depotlab.service._serve.configfile import SECTIONS, read_config

ALL = """
state = "state"
platform = "linux/arm64"

[listen]
host = "127.0.0.1"
port = 8080
cert = "tls/cert.pem"
key = "/etc/key.pem"

[depot]
region = "eu-central-1"
cache_gb = 50
name_prefix = "acme"

[registry]
repository = "ghcr.io/acme/{project}"
user = "acme"

[storage]
folder = "contexts"
port = 8900

[telemetry]
duckdb = "builds.duckdb"

[limits]
max_running = 2
keep_days = 7
"""


def read(text, environ=None):
    return read_config(text, name="service.toml", folder=Path("/srv"), environ=environ or {})


def test_everything_is_made_of_what_it_says():
    config = read(ALL, {"DEPOTLAB_REGISTRY_PASSWORD": "pw"})
    assert config.options["state"] == "/srv/state"
    assert config.options["platform"] == "linux/arm64"
    assert config.options["depot"] == Depot(region="eu-central-1", cache_gb=50, name_prefix="acme")
    assert config.options["registry"] == Registry(
        "ghcr.io/acme/{project}", user="acme", password="pw"
    )
    assert config.options["limits"] == Limits(max_running=2, keep_days=7)
    assert repr(config.options["storage"]) == repr(LocalStorage("/srv/contexts", port=8900))
    assert config.options["telemetry"] == "/srv/builds.duckdb"
    assert (config.host, config.port) == ("127.0.0.1", 8080)
    assert config.tls == ("/srv/tls/cert.pem", "/etc/key.pem")


def test_an_empty_file_is_all_defaults():
    config = read("")
    assert (config.options, config.host, config.port, config.tls) == ({}, "127.0.0.1", None, None)


def test_a_bucket_and_a_database_elsewhere():
    text = '[s3]\nbucket = "contexts"\nendpoint_url = "http://127.0.0.1:9000"\n'
    text += '[clickhouse]\naddress = "http://127.0.0.1:8123"\n[telemetry]\n'
    config = read(text, {"DEPOTLAB_CLICKHOUSE_PASSWORD": "pw"})
    assert isinstance(config.options["storage"], S3Storage)
    assert config.options["telemetry"].address == "http://127.0.0.1:8123"
    assert "pw" not in repr(config)


RULE = '[[errors]]\ncategory = "npm"\npatterns = ["npm err! *"]\nmessage = "Fix it."\n'


def test_what_customers_are_told_can_be_more():
    found = read(f"{RULE}{RULE.replace('npm', 'pip')}[limits]\nmax_running = 3\n").options
    assert found["error_rules"] == (
        Rule("npm", ("npm err! *",), "Fix it."),
        Rule("pip", ("pip err! *",), "Fix it."),
    )
    assert found["limits"].max_running == 3


def test_telemetry_can_be_off():
    assert read("[telemetry]\noff = true\n").options["telemetry"] is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("a = = 1", r"service\.toml is no TOML: .*line 1", id="no TOML"),
        pytest.param(
            "[limits]\nmax_runing = 3\n",
            r"line 2: \[limits\] max_runing is no setting[^$]*max_running",
            id="a key that there is not",
        ),
        pytest.param("\nregion = 'x'\n", r"line 2: region is no setting", id="outside a section"),
        pytest.param(
            "[depot]\n[limit]\nx = 1\n",
            r"line 2: there is no section \[limit\][^$]*limits",
            id="section",
        ),
        pytest.param(
            "[depot]\nlocal = true\n\n[listen]\n'port' = '80'\n",
            r"line 5: \[listen\] port is '80'[^$]*a whole number",
            id="a wrong kind",
        ),
        pytest.param("[limits]\nmax_running = true\n", "a whole number", id="a flag is no number"),
        pytest.param(
            "[depot]\ntoken = 'depot_x'\n", r"line 2: [^$]*DEPOT_TOKEN", id="a secret of Depot"
        ),
        pytest.param(
            "[registry]\nrepository = 'r.io/x'\npassword = 'x'\n",
            r"line 3: [^$]*DEPOTLAB_REGISTRY_PASSWORD",
            id="a secret of the registry",
        ),
        pytest.param(
            "[limits]\nmax_running = 0\n", r"service\.toml, \[limits\]: ", id="a value is refused"
        ),
        pytest.param("[s3]\nprefix = 'x'\n", r"\[s3\]: bucket is missing", id="a key is missing"),
        pytest.param("[storage]\nfolder='x'\n[s3]\nbucket='b'\n", "leave one out", id="two stores"),
        pytest.param("[listen]\ncert = 'x'\n", "cert and key", id="half of a certificate"),
        pytest.param("state = ''\n", "line 1: state is empty", id="a path that is none"),
        pytest.param(
            "[registry]\nrepository = 'ghcr.io/a/b'\nuser = 'a'\n", "no password", id="half a login"
        ),
        pytest.param("errors = 'x'\n", r"write \[\[errors\]\]", id="no rows"),
        pytest.param(
            RULE + RULE.replace("message", "advice"),
            r"\[\[errors\]\] number 2: advice is no setting",
            id="a row with another key",
        ),
        pytest.param(
            RULE.rpartition("message")[0], "number 1: message is missing", id="half a row"
        ),
        pytest.param(
            RULE.replace('["npm err! *"]', '"npm"'), "number 1 is malformed", id="one phrase"
        ),
        pytest.param(
            RULE.replace("npm err", "NPM err"), "number 1: [^$]*capitals", id="never found"
        ),
        pytest.param(
            "[telemetry]\nduckdb='x'\noff=true\n", "several things", id="two kinds of telemetry"
        ),
    ],
)
def test_a_mistake_is_named_with_its_line(text, words):
    with pytest.raises(UsageError, match=words) as error:
        read(text)
    assert "depot_x" not in str(error.value)


@pytest.mark.parametrize(
    ("section", "makes"),
    [
        ("depot", Depot),
        ("registry", Registry),
        ("storage", LocalStorage),
        ("s3", S3Storage),
        ("limits", Limits),
    ],
)
def test_the_keys_are_arguments_of_what_they_make(section, makes):
    import inspect

    assert set(SECTIONS[section]) <= set(inspect.signature(makes).parameters)
