"""Tokens: what they look like, what is kept of them, and what each kind may do."""

import pytest

from depotlab._plane.database import Database
from depotlab._plane.tokens import Caller, Tokens
from depotlab._serving import Fault


class Clock:
    now = 1_000_000_000_000

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def db(tmp_path, clock):
    database = Database(tmp_path / "plane.db", now_ns=clock)
    yield database
    database.close()


@pytest.fixture
def tokens(db):
    return Tokens(db)


def test_a_token_says_its_kind_and_is_known_again(tokens):
    made = tokens.make("build", project_id="p", build_id="b")
    assert made.secret.startswith(f"depotlab_build_{made.token_id}_")
    assert tokens.check(made.secret) == Caller("build", made.token_id, "p", "b")
    assert made.secret not in repr(made)


def test_no_secret_is_in_the_file(tmp_path, db, tokens):
    made = tokens.make("organization")
    db.change("PRAGMA wal_checkpoint(TRUNCATE)")
    secret = made.secret.rpartition("_")[2].encode()
    assert all(secret not in path.read_bytes() for path in tmp_path.iterdir())


@pytest.mark.parametrize(
    "spoil",
    [
        lambda secret: secret[:-1] + ("0" if secret[-1] != "0" else "1"),
        lambda secret: secret.replace("_project_", "_user_"),
        lambda secret: secret + "0",
        lambda secret: " " + secret,
        lambda _: "",
        lambda _: "depotlab_project_0000000000_" + "0" * 48,
        lambda _: "é" * 40,
    ],
)
def test_anything_else_is_nobodys(tokens, spoil):
    secret = tokens.make("project", project_id="p").secret
    assert tokens.check(spoil(secret)) is None


def test_a_token_ends(tokens, clock, db):
    made = tokens.make("pull", project_id="p", lasts_s=60)
    assert tokens.check(made.secret) is not None
    clock.now += 61 * 10**9
    assert tokens.check(made.secret) is None
    Tokens(db)  # the next start sweeps
    assert db.rows("SELECT * FROM tokens") == []


def test_the_tokens_of_a_build_end_some_time_after_it(tokens, clock):
    mine = tokens.make("build", project_id="p", build_id="b").secret
    other = tokens.make("build", project_id="p", build_id="c").secret
    tokens.expire_build("b", after_s=10)
    assert tokens.check(mine) is not None
    clock.now += 11 * 10**9
    assert tokens.check(mine) is None
    assert tokens.check(other) is not None


@pytest.mark.parametrize(
    ("header", "text"),
    [
        ("", "set DEPOT_TOKEN"),
        ("Bearer", "set DEPOT_TOKEN"),
        ("Bearer ", "set DEPOT_TOKEN"),
        ("Basic eDp5", "set DEPOT_TOKEN"),
        ("Bearer nonsense", "not known here"),
        ("Bearer eyJhbGciOi.e30.x", "OIDC"),
    ],
)
def test_a_header_that_speaks_for_nobody_says_what_to_do(tokens, header, text):
    with pytest.raises(Fault, match=text) as caught:
        tokens.caller(header)
    assert caught.value.code == "unauthenticated"


def test_a_header_is_read_whatever_the_case_of_its_scheme(tokens):
    secret = tokens.make("user").secret
    assert tokens.caller(f"bearer  {secret} ").kind == "user"


ALLOWED = {
    # kind: manage, build in its project, run its build, build in another project, run another build
    "user": (True, True, True, True, True),
    "organization": (True, True, True, True, True),
    "project": (False, True, True, False, False),
    "build": (False, False, True, False, False),
    "pull": (False, False, False, False, False),
}


@pytest.mark.parametrize("kind", ALLOWED)
def test_what_each_kind_may_do(kind):
    caller = Caller(
        kind,
        "t",
        "mine" if kind in ("project", "build", "pull") else "",
        "b1" if kind == "build" else "",
    )
    asked = (
        caller.may_manage,
        lambda: caller.may_build_in("mine"),
        lambda: caller.may_run("mine", "b1"),
        lambda: caller.may_build_in("other"),
        lambda: caller.may_run("other", "b2"),
    )
    for ask, allowed in zip(asked, ALLOWED[kind], strict=True):
        if allowed:
            ask()
        else:
            with pytest.raises(Fault) as caught:
                ask()
            assert caught.value.code == "permission_denied"


def test_a_build_token_is_good_for_its_own_build_only():
    caller = Caller("build", "t", "mine", "b1")
    with pytest.raises(Fault, match="another build"):
        caller.may_run("mine", "b2")


@pytest.mark.parametrize(
    ("kind", "mine", "other", "push"),
    [
        ("user", True, True, True),
        ("organization", True, True, True),
        ("project", True, False, True),
        ("build", True, False, True),
        ("pull", True, False, False),
    ],
)
def test_who_may_use_a_repository(tokens, kind, mine, other, push):
    bound = "mine" if kind in ("project", "build", "pull") else ""
    secret = tokens.make(kind, project_id=bound).secret
    assert tokens.admits("x-token", secret, "mine", False) is mine
    assert tokens.admits("x-token", secret, "other", False) is other
    assert tokens.admits("x-token", secret, "mine", True) is push
    assert tokens.admits("x-token", secret, "", False), "any good login may say hello"
    assert not tokens.admits("me", secret, "mine", False)
    assert not tokens.admits("x-token", "nonsense", "mine", False)


def test_a_projects_own_tokens_are_listed_described_and_deleted(tokens):
    made = tokens.make("project", project_id="p", description="ci")
    tokens.make("build", project_id="p", build_id="b")
    tokens.describe(made.token_id, "laptop")
    assert [(t.token_id, t.description) for t in tokens.of_project("p")] == [
        (made.token_id, "laptop")
    ]
    tokens.delete(made.token_id)
    assert tokens.check(made.secret) is None
    for ask in (lambda: tokens.describe(made.token_id, ""), lambda: tokens.delete(made.token_id)):
        with pytest.raises(Fault) as caught:
            ask()
        assert caught.value.code == "not_found"
