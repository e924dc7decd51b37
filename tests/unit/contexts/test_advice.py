"""What a preview warns of, and the rules that it suggests."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depotlab._contexts import Finding, context
from depotlab._contexts.advice import rule_for
from depotlab._transfer import TreeFilter, read_rules

KEY = "-----BEGIN OPENSSH PRIVATE KEY-----\nabc\n"
CERTIFICATE = "-----BEGIN CERTIFICATE-----\nabc\n"


def findings(files: dict[str, str | bytes]) -> list[Finding]:
    return list(context(files).preview().warnings)


def said(files: dict[str, str | bytes]) -> list[tuple[str, str, str]]:
    return [(one.kind, one.path, one.rule) for one in findings(files)]


@pytest.mark.parametrize(
    ("path", "content"),
    [
        (".env", "PASSWORD=x"),
        ("app/.env.local", "A=1"),
        ("app/.envrc", "export A=1"),
        ("keys/id_rsa", "x"),
        ("id_ed25519", KEY),
        ("tls/server.pem", KEY),
        ("tls/server.key", KEY),
        ("store.p12", b"\0"),
        ("credentials.json", "{}"),
        ("conf/service-account-prod.json", '{"private_key": "-----BEGIN PRIVATE KEY-----"}'),
        ("kubeconfig", "x"),
        (".kube/config", "users:\n- user:\n    token: abc\n"),
        (".aws/credentials", "aws_secret_access_key = x"),
        (".docker/config.json", '{"auths": {"ghcr.io": {"auth": "dXNlcjpwdw=="}}}'),
        (".npmrc", "//npm.example/:_authToken=npm_abc\n"),
        (".pypirc", "[pypi]\nusername = x\npassword = y\n"),
        (".netrc", "machine x"),
        (".git-credentials", "https://x"),
        ("pip.conf", "[global]\nindex-url = https://user:pw@host/simple\n"),
        ("infra/terraform.tfstate", '{"terraform_version": "1.0"}'),
        ("deploy/prod.env", "PASSWORD=x"),
        ("conf/secrets.yaml", "password: x"),
        ("deploy_key", KEY),
        ("ci/github-ed25519", KEY),
        (".pgpass", "localhost:5432:*:me:x"),
        (".vault-token", "hvs.x"),
    ],
)
def test_secrets_are_noticed(path: str, content: str | bytes) -> None:
    assert said({path: content}) == [("secret", path, path)]


@pytest.mark.parametrize(
    ("path", "content"),
    [
        (".env.example", "PASSWORD="),
        (".env.template", "PASSWORD="),
        ("deploy/example.env", "PASSWORD="),
        ("deploy/prod-sample.env", "PASSWORD="),
        ("translations/api_key", "the key of the API"),
        ("id_rsa.pub", "ssh-rsa"),
        ("tls/ca.pem", CERTIFICATE),
        ("tls/public.key", "-----BEGIN PUBLIC KEY-----"),
        (".npmrc", "registry=https://npm.example\n# _authToken=old\n"),
        (".npmrc", "//npm.example/:_authToken=${NPM_TOKEN}\n"),
        ("config", "token: x"),
        ("app/config.json", '{"auths": {"a": {"auth": "b"}}}'),
        ("conf/service-account.json", '{"name": "no key in it"}'),
        ("environment.py", "x"),
        ("main.tfstate.md", "terraform_version"),
    ],
)
def test_what_only_looks_like_a_secret_is_not_warned_of(path: str, content: str) -> None:
    assert said({path: content}) == []


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        pytest.param({".git/HEAD": "x", ".git/config": "y"}, ("version control", ".git", ".git"), id="git"),
        pytest.param({"env/pyvenv.cfg": "", "env/bin/python": "", "env/lib/x.py": ""},
                     ("environment", "env", "env"), id="venv by its pyvenv.cfg, whatever its name"),
        pytest.param({"c/conda-meta/history": "", "c/bin/python": ""}, ("environment", "c", "c"), id="conda"),
        pytest.param({"web/node_modules/a/index.js": ""},
                     ("packages", "web/node_modules", "web/node_modules"), id="node_modules"),
        pytest.param({"a/__pycache__/x.pyc": "", "b/__pycache__/y.pyc": ""},
                     ("cache", "a/__pycache__", "**/__pycache__"), id="several of one name make one rule"),
        pytest.param({"d/x.csv": bytes(11 << 20), "d/small.csv": "1"}, ("data", "d/x.csv", "d/x.csv"),
                     id="large data"),
        pytest.param({"d/dump.sql.gz": bytes(11 << 20)}, ("data", "d/dump.sql.gz", "d/dump.sql.gz"),
                     id="a large archive"),
        pytest.param({"d/x.npz": bytes(11 << 20), "d/y.npz": bytes(12 << 20)},
                     ("data", "d/x.npz", "d/*.npz"), id="several data sets of one kind in one place"),
    ],
)  # fmt: skip
def test_what_hardly_belongs_into_a_context_is_noticed(
    files: dict[str, str | bytes], expected: tuple[str, str, str]
) -> None:
    assert said(files) == [expected]


def test_what_is_left_out_is_not_warned_of() -> None:
    files = {".git/HEAD": "x", ".env": "A=1", "n/node_modules/x": ""}
    assert said(files | {".dockerignore": ".git\n**/.env\n**/node_modules\n"}) == []
    assert [
        kind for kind, *_ in said(files | {".dockerignore": ".git/*\n!.git/HEAD\n.env\nn\n"})
    ] == [
        "version control"  # a part of it is sent
    ]


def test_what_is_in_it_goes_with_a_directory_that_is_warned_of() -> None:
    files = {
        "v/lib/cacert.pem": KEY,
        "v/lib/__pycache__/x.pyc": "",
        "v/pyvenv.cfg": "",
        "x.pem": KEY,
    }
    assert said(files) == [("secret", "x.pem", "x.pem"), ("environment", "v", "v")]


def test_the_context_itself_may_be_an_environment(tmp_path: Path) -> None:
    assert said({"pyvenv.cfg": "", "bin/python": ""}) == []


def test_secrets_come_first_and_then_the_biggest() -> None:
    big, bigger = bytes(11 << 20), bytes(12 << 20)
    files = {"a.csv": big, "b.npz": bigger, ".git/x": "1", ".env": "A=1", "__pycache__/x": "1"}
    kinds = [one.kind for one in findings(files)]
    assert kinds == ["secret", "version control", "data", "data", "cache"]
    assert [one.path for one in findings(files)][2:4] == ["b.npz", "a.csv"]


def test_a_finding_says_what_to_do() -> None:
    [one] = findings({".env": "A=1"})
    assert str(one) == ".env: likely a secret; to leave it out, add .env to .dockerignore"
    [two] = findings({"a/__pycache__/x": "1", "b/__pycache__/x": "1"})
    assert str(two).startswith("a/__pycache__ and 1 more: cache of this machine")


def test_adding_the_suggested_rules_leaves_no_warning(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {
        ".env": "A=1", "app/.env": "A=1", "k [1]/id_rsa": "x", "!odd/.netrc": "x", "#x.pem": KEY,
        "a/__pycache__/x": "1", "b/c/__pycache__/x": "1", "d|{1}/x.csv": bytes(11 << 20),
        "d|{1}/y.csv": bytes(11 << 20), "ends with space /x.p12": "x", "app/main.py": "",
    }  # fmt: skip
    preview = context(files).preview()
    assert len(preview.warnings) == 7  # equal names are one
    after = context(files | {".dockerignore": preview.suggested_rules}).preview()
    assert after.warnings == ()
    assert "app/main.py" in [file.path for file in after.files()]


names = st.binary(min_size=1, max_size=6).filter(
    lambda name: b"/" not in name and b"\0" not in name
)
odd = st.sampled_from(
    [
        b"*",
        b"?",
        b"[a]",
        b"!x",
        b"#x",
        b" x ",
        b"\\",
        b"{1}",
        b"a|b",
        b"^",
        b"\n",
        b"\xff",
        b"\xef\xbb\xbfx",
    ]
)


@given(st.lists(names | odd, min_size=1, max_size=3), st.randoms(use_true_random=False))
def test_a_rule_for_a_path_leaves_out_that_path_and_not_others(
    parts: list[bytes], rng: random.Random
) -> None:
    if any(part in (b".", b"..") or not part.strip(b"\x00") for part in parts):
        return
    path = b"/".join(parts)
    rule = rule_for(path)
    rules = [
        one.pattern for one in read_rules(rule.encode("utf-8", "surrogateescape") + b"\n", "x")
    ]
    wanted = TreeFilter([], rules)
    text = path.decode("utf-8", "surrogateescape")
    assert not wanted.explain(text).keeps, rule
    assert wanted.explain(f"y{text}").keeps
    assert wanted.explain(f"{'z' * 40}/{text}").keeps
    assert wanted.explain(f"{text}y").keeps


def test_only_names_count_where_contents_are_not_at_hand() -> None:
    from tests.unit.contexts.test_tar import archive

    preview = context(archive("tls/server.pem", ".env", "app.py")).preview()
    assert {one.path for one in preview.warnings} == {".env", "tls/server.pem"}


def test_a_file_that_may_not_be_read_for_the_check_is_a_problem_and_no_crash(
    tmp_path: Path,
) -> None:
    (tmp_path / "x.pem").symlink_to("nowhere")
    (tmp_path / "y.pem").mkdir()
    assert context(tmp_path).preview().warnings == ()
