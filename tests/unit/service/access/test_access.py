"""Tokens of the build service: what is kept of them, whose they are, and how often they may ask."""

import asyncio
import json

import pytest

from depotlab._serving import Fault
from depotlab.errors import ServiceError, UsageError
from depotlab.service._access.access import Access, Caller
from depotlab.service._access.buckets import Buckets
from depotlab.service._core.tables import open_database


class Clock:
    now_s = 1_000_000.0

    def ns(self):
        return int(self.now_s * 1e9)

    def s(self):
        return self.now_s


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def db(tmp_path, clock):
    database = open_database(tmp_path / "service.sqlite3", now_ns=clock.ns)
    yield database
    database.close()


@pytest.fixture
def access(db, clock):
    return Access(db, now_s=clock.s)


def make(access, *args, **options):
    options.setdefault("projects", ["shop"])
    return asyncio.run(access.create(*args or ("a test",), **options))


def listed(access):
    return asyncio.run(access.list())


def bearer(token):
    return f"Bearer {token}"


# ---------------------------------------------------------------------------------------- tokens


def test_a_token_is_known_again_with_what_it_is_for(access):
    made = make(access, projects=["shop", "blog"], may=["read"])
    caller = access.identify(bearer(made.secret))
    assert caller == Caller(made.token_id, frozenset({"shop", "blog"}), frozenset({"read"}))
    assert made.secret.startswith(f"depotlab_service_{made.token_id}_")


def test_a_star_is_all_projects(access):
    made = make(access, projects="*")
    assert access.check(made.secret).projects is None
    assert access.check(made.secret).sees("whatever")
    assert made.projects == () == listed(access)[0].projects


def test_one_name_needs_no_list(access):
    made = make(access, projects="shop", may="build")
    assert (made.projects, made.may) == (("shop",), ("build",))


def test_no_secret_is_in_the_file_or_in_a_repr(tmp_path, db, access):
    made = make(access)
    db.change("PRAGMA wal_checkpoint(TRUNCATE)")
    secret = made.secret.rpartition("_")[2]
    assert all(secret.encode() not in path.read_bytes() for path in tmp_path.iterdir())
    assert secret not in repr(made) + made._repr_html_() + str(listed(access))


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda s: s[:-1] + ("0" if s[-1] != "0" else "1"), id="its last digit"),
        pytest.param(lambda s: s.replace("_service_", "_project_"), id="its kind"),
        pytest.param(lambda s: s + "0", id="more than it"),
        pytest.param(lambda _: "depotlab_service_0000000000_" + "0" * 48, id="an id that is none"),
        pytest.param(lambda _: "é" * 40, id="other letters"),
        pytest.param(lambda _: "", id="nothing"),
    ],
)
def test_what_is_not_quite_a_token_is_nobodys(access, spoil):
    assert access.check(spoil(make(access).secret)) is None


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer  ", "Basic abc", "Bearer nobody"])
def test_without_a_known_bearer_token_nobody_is_let_in(access, header):
    make(access)
    with pytest.raises(Fault) as refused:
        access.identify(header)
    assert refused.value.code == "unauthenticated"
    assert "nobody" not in refused.value.text


def test_a_token_ends_when_it_was_said_to(access, clock):
    made = make(access, expires_s=60)
    assert (made.expires_at - made.created_at).total_seconds() == 60
    clock.now_s += 59
    assert access.check(made.secret) is not None
    assert len(listed(access)) == 1
    clock.now_s += 1.001
    assert access.check(made.secret) is None
    assert not listed(access)


def test_a_revoked_token_opens_nothing_more(access):
    made, other = make(access), make(access)
    asyncio.run(access.revoke(made.token_id))
    assert access.check(made.secret) is None
    assert access.check(other.secret) is not None
    with pytest.raises(ServiceError) as missing:
        asyncio.run(access.revoke(made.token_id))
    assert missing.value.code == "not_found"


@pytest.mark.parametrize(
    ("options", "named"),
    [
        pytest.param({"projects": []}, "projects", id="no project"),
        pytest.param({"projects": [""]}, "projects", id="an empty name"),
        pytest.param({"may": ["write"]}, "write", id="a right that there is not"),
        pytest.param({"may": []}, "may", id="no right"),
        pytest.param({"expires_s": 0}, "expires_s", id="no time"),
        pytest.param({"expires_s": -1.5}, "expires_s", id="time that has passed"),
        pytest.param({"expires_s": "soon"}, "expires_s", id="no number"),
    ],
)
def test_a_wrong_argument_is_named(access, options, named):
    with pytest.raises(UsageError, match=named):
        make(access, **options)


@pytest.mark.parametrize(
    "description",
    [
        pytest.param("  ", id="nothing"),
        pytest.param("x" * 201, id="too long"),
        pytest.param("CI\n0123456789  admin  all projects", id="a row of its own in a list"),
        pytest.param("CI\x1b[2J", id="words for a terminal"),
    ],
)
def test_a_token_needs_a_description_that_can_be_shown(access, description):
    with pytest.raises(UsageError, match="description"):
        make(access, description)


def test_projects_are_kept_as_json(db, access):
    make(access, projects=["b", "a", "b"])
    assert json.loads(db.row("SELECT projects FROM tokens")["projects"]) == ["a", "b"]


# ---------------------------------------------------------------------------------------- rights


@pytest.mark.parametrize(
    ("may", "wanted", "is_allowed"),
    [
        ("build", "build", True),
        ("build", "read", False),
        ("read", "build", False),
        ("admin", "build", True),
        ("admin", "read", True),
        ("read", "admin", False),
        ("build", "admin", False),
    ],
)
def test_what_a_token_may(may, wanted, is_allowed):
    caller = Caller("t", None, frozenset({may}))
    if is_allowed:
        caller.need(wanted)
        return
    with pytest.raises(Fault) as refused:
        caller.need(wanted)
    assert refused.value.code == "permission_denied"
    assert may in refused.value.text
    assert wanted in refused.value.text


# ---------------------------------------------------------------------------------------- limits


def test_each_token_has_its_own_requests(db, clock):
    access = Access(db, requests_per_minute=3, now_s=clock.s)
    one, other = (bearer(make(access).secret) for _ in range(2))
    for _ in range(3):
        access.identify(one)
    with pytest.raises(Fault) as refused:
        access.identify(one)
    assert refused.value.code == "resource_exhausted"
    assert refused.value.retry_after_s == pytest.approx(20)
    access.identify(other)
    clock.now_s += 20
    access.identify(one)


def test_each_project_has_its_own_builds(db, clock):
    access = Access(db, builds_per_hour=2, now_s=clock.s)
    access.count_build("shop")
    access.count_build("shop")
    with pytest.raises(Fault) as refused:
        access.count_build("shop")
    assert refused.value.code == "resource_exhausted"
    assert refused.value.retry_after_s == pytest.approx(1800)
    access.count_build("blog")


def test_a_limit_that_allows_nothing_is_refused(db):
    with pytest.raises(UsageError, match="builds_per_hour=0"):
        Access(db, builds_per_hour=0)


@pytest.mark.parametrize("most", [1, 2, 7, 600])
def test_a_bucket_gives_so_many_at_once_and_so_many_again_later(most):
    bucket = Buckets(most, per_s=60.0, what="x")
    assert [bucket.take("a", 5.0) for _ in range(most)] == [0.0] * most
    assert bucket.take("a", 5.0) == pytest.approx(60.0 / most)
    assert [bucket.take("a", 65.0) for _ in range(most)] == [0.0] * most
    assert bucket.take("a", 65.0) > 0


def test_a_refusal_takes_nothing():
    bucket = Buckets(1, per_s=60.0, what="x")
    bucket.take("a", 0.0)
    assert [round(bucket.take("a", float(at))) for at in (1, 2, 59)] == [59, 58, 1]
    assert bucket.take("a", 60.0) == 0.0


def test_what_is_given_back_can_be_taken_again():
    bucket = Buckets(1, per_s=60.0, what="x")
    bucket.take("a", 0.0)
    bucket.give_back("a")
    bucket.give_back("b")
    assert [bucket.take("a", 0.0) > 0 for _ in range(2)] == [False, True]


def test_keys_that_are_at_rest_are_forgotten():
    bucket = Buckets(10, per_s=1.0, what="x")
    for number in range(20_000):
        bucket.take(f"key {number}", float(number))
    assert len(bucket) < 5000
