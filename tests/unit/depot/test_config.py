import asyncio
import json
import pickle

import pytest

from depotlab._depot import Connect, DepotConfig, IdentityFailed, NoToken, Setting, find_config
from depotlab._depot.config import config_file
from depotlab._depot.flatyaml import NotFlat, read_flat
from depotlab.errors import ContextError, UsageError
from tests.support.tokenserver import TokenServer

SECRET = "depot_planted_9876543210"


def find(tmp_path, environ=None, **options):
    options.setdefault("host_context", tmp_path)
    return asyncio.run(find_config(environ=environ or {}, home=tmp_path / "home", **options))


def login(tmp_path, text=f"api_token: {SECRET}\norg_id: org1\n"):
    path = config_file({}, home=tmp_path / "home", system="linux")
    path.parent.mkdir(parents=True)
    path.write_text(text)
    return path


@pytest.fixture(autouse=True)
def linux(monkeypatch):
    monkeypatch.setattr("sys.platform", "linux")


EVERYWHERE = {
    "DEPOT_TOKEN": "from-token",
    "DEPOT_API_TOKEN": "from-api-token",
    "CIRCLE_OIDC_TOKEN_V2": "from-circle",
    "DEPOT_JIT_TOKEN": "from-jit",
    "DEPOT_CACHE_TOKEN": "from-cache",
}


def test_the_token_is_the_first_of_the_official_order(tmp_path):
    path = login(tmp_path, "api_token: from-file\n")
    environ = dict(EVERYWHERE)
    found = [find(tmp_path, environ, token="mine").token]
    for name in ("DEPOT_TOKEN", "DEPOT_API_TOKEN", "file", *list(EVERYWHERE)[2:]):
        found.append(find(tmp_path, environ).token)
        path.unlink() if name == "file" else environ.pop(name)
    assert [(s.value, s.source) for s in found] == [
        ("mine", "argument"),
        ("from-token", "DEPOT_TOKEN"),
        ("from-api-token", "DEPOT_API_TOKEN"),
        ("from-file", str(path)),
        ("from-circle", "identity of the job at CircleCI"),
        ("from-jit", "DEPOT_JIT_TOKEN"),
        ("from-cache", "DEPOT_CACHE_TOKEN"),
    ]
    assert not find(tmp_path, environ).token


def test_without_a_token_one_message_says_the_three_ways(tmp_path):
    config = find(tmp_path)
    with pytest.raises(NoToken) as caught:
        config.connect()
    for way in ("depotlab login", "DEPOT_TOKEN", "trust policy", "depot(local=True)"):
        assert way in str(caught.value)


@pytest.mark.parametrize("system", ["linux", "darwin", "win32"])
def test_the_login_is_where_the_command_line_keeps_it(tmp_path, system):
    folders = {
        "linux": ".config",
        "darwin": "Library/Application Support",
        "win32": "AppData/Local",
    }
    expected = tmp_path / folders[system] / "depot" / "depot.yaml"
    assert config_file({}, home=tmp_path, system=system) == expected
    xdg = {"XDG_CONFIG_HOME": str(tmp_path / "x")}
    assert config_file(xdg, home=tmp_path, system=system) == tmp_path / "x/depot/depot.yaml"


def test_the_project_is_in_the_nearest_file_above_the_context(tmp_path):
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    (tmp_path / "depot.json").write_text('{"id": "outer"}')
    assert find(tmp_path, host_context=inner).project.value == "outer"
    (tmp_path / "a" / "depot.yaml").write_text("id: yaml\n")
    (tmp_path / "a" / "depot.yml").write_text("id: 'yml' # ours\n")
    project = find(tmp_path, host_context=inner).project
    assert (project.value, project.source) == ("yml", str(tmp_path / "a" / "depot.yml"))
    environ = {"DEPOT_PROJECT_ID": "env"}
    assert find(tmp_path, environ, host_context=inner).project.value == "env"
    assert find(tmp_path, environ, host_context=inner, project="arg").project.value == "arg"


def test_project_files_that_disagree_are_a_warning_and_the_last_wins(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "depot.json").write_text(json.dumps({"id": name}))
    both = {"host_context": tmp_path / "one", "host_dockerfile": tmp_path / "two" / "Dockerfile"}
    config = find(tmp_path, **both)
    assert config.project.value == "two"
    assert "one" in config.warnings[0]
    assert config.warnings[0] in str(config)


def test_the_other_values_have_their_places(tmp_path):
    path = login(tmp_path)
    config = find(tmp_path)
    assert config.organization == Setting("org1", str(path))
    assert config.base_url == Setting("https://api.depot.dev", "default")
    environ = {
        "DEPOT_ORG_ID": "org2",
        "DEPOT_BUILD_ID": "b1",
        "DEPOT_API_URL": "http://127.0.0.1:8080/",
    }
    config = find(tmp_path, environ)
    assert config.organization == Setting("org2", "DEPOT_ORG_ID")
    assert config.build == Setting("b1", "DEPOT_BUILD_ID")
    assert config.base_url == Setting("http://127.0.0.1:8080", "DEPOT_API_URL")


def test_the_token_is_in_no_text_and_no_table(tmp_path):
    login(tmp_path)
    config = find(tmp_path)
    shown = [repr(config), str(config), config._repr_html_(), repr(config.token)]
    shown += [repr(config.connect()), repr(vars(Connect)), str(dict(config.settings()))]
    assert config.token.value == SECRET
    assert not any(SECRET in text for text in shown)
    assert "•••" in str(config)
    assert repr(config).startswith("<DepotConfig token from ")
    assert "depot.yaml" in config._repr_html_()
    assert isinstance(pickle.loads(pickle.dumps(config)), DepotConfig)


def test_what_a_table_shows_is_escaped(tmp_path):
    config = find(tmp_path, project="<script>")
    assert "<script>" not in config._repr_html_()


@pytest.mark.parametrize("token", ["two words", "line\nbreak", "ümlaut"])
def test_a_token_that_no_header_takes_is_refused_without_being_shown(tmp_path, token):
    with pytest.raises(UsageError) as caught:
        find(tmp_path, {"DEPOT_TOKEN": token})
    assert token not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    ["api.depot.dev", "ftp://x", "https://", "http://h:x", "https://u:secretpw@h", "http://h/?q"],
)
def test_an_address_that_is_none_is_refused_without_its_password(tmp_path, url):
    with pytest.raises(UsageError, match="http or https") as caught:
        find(tmp_path, base_url=url)
    assert "secretpw" not in str(caught.value)


def test_a_login_that_cannot_be_read_names_the_file_and_not_what_is_in_it(tmp_path):
    path = login(tmp_path, f"api_token: |\n  {SECRET}\n")
    with pytest.raises(ContextError) as caught:
        find(tmp_path)
    assert caught.value.path == str(path)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("id: abc", "abc"),
        ("---\n# note\nother:\n  id: no\nid:   'it''s' # yes\n", "it's"),
        ('"id": "a: b"', "a: b"),
        ("id: a#b", "a#b"),
        ('\ufeff{"id": 12}', "12"),
        ("id:", None),
        ("id: null", None),
        ("id: # none", None),
        ("", None),
    ],
)
def test_flat_files_are_read_as_yaml_reads_them(text, expected):
    assert read_flat(text, ["id"]).get("id") == expected


@pytest.mark.parametrize(
    "text", ["id: [a]", "id: >\n  a", "just words", '{"id": [1]}', "{id: a}", 'id: "a\\n"']
)
def test_other_forms_are_refused_and_not_guessed(text):
    with pytest.raises(NotFlat):
        read_flat(text, ["id"])


# ------------------------------------------------------------------------------------ identities


def github(server):
    return {
        "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "request-secret",
        "ACTIONS_ID_TOKEN_REQUEST_URL": f"http://{server.address}/token?api=2&audience=other",
    }


def test_github_is_asked_for_depots_audience(tmp_path):
    with TokenServer() as server:
        server.answers["GET"] = (200, {}, {"value": "jwt"})
        config = find(tmp_path, github(server))
    assert config.token == Setting("jwt", "identity of the job at GitHub Actions", True)
    (asked,) = server.asked
    assert asked.fields == [("api", "2"), ("audience", "https://depot.dev")]
    assert asked.headers["authorization"] == "bearer request-secret"


def test_buildkite_is_asked_for_the_job(tmp_path):
    with TokenServer() as server:
        server.answers["POST"] = (200, {}, {"token": "jwt"})
        environ = {
            "BUILDKITE_AGENT_ACCESS_TOKEN": "agent-secret",
            "BUILDKITE_JOB_ID": "j1",
            "BUILDKITE_AGENT_ENDPOINT": f"http://{server.address}/v3",
        }
        config = find(tmp_path, environ)
    assert config.token.value == "jwt"
    assert server.asked[0].path == "/v3/jobs/j1/oidc/tokens"
    assert server.asked[0].headers["authorization"] == "Token agent-secret"


def test_gitlab_is_believed_only_in_gitlab(tmp_path):
    assert not find(tmp_path, {"DEPOT_OIDC_TOKEN": "jwt"}).token
    config = find(tmp_path, {"DEPOT_OIDC_TOKEN": "jwt", "GITLAB_CI": "true"})
    assert config.token.source == "identity of the job at GitLab"


@pytest.mark.parametrize(
    "answer", [(403, {}, "request-secret denied"), (200, {}, "no JSON"), (200, {}, {"value": ""})]
)
def test_an_identity_that_is_refused_is_an_error_without_secrets(tmp_path, answer):
    with TokenServer() as server:
        server.answers["GET"] = answer
        with pytest.raises(IdentityFailed, match="GitHub Actions") as caught:
            find(tmp_path, github(server))
    assert "request-secret" not in str(caught.value)
