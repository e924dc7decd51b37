"""What may be asked of a build service; a refusal names the argument and says what to do, and never a secret."""

from __future__ import annotations

import pytest

from depotlab.errors import ServiceError, UsageError
from depotlab.service import GitContext, Limits, UploadedContext, git
from depotlab.service._asking.checks import asked_for, check_listing, check_offset, make_order
from depotlab.service._boundary import Secrets
from depotlab.service._builds.retrying import pause_s

PATH = "shop/1800000000000000000.tar.gz"
FINE = {
    "build_id": "b1",
    "project": "shop",
    "deployment": "d1",
    "workspace": "",
    "dockerfile_path": "Dockerfile",
    "target": "",
    "platform": "linux/amd64",
    "args": None,
    "labels": None,
    "env": None,
    "git_token": "",
    "idempotency_key": "",
}
SECRET = "planted-secret"


def ask(context: object = PATH, **changed: object):
    return make_order(context, **(FINE | changed))


def test_what_is_asked_for_is_kept_as_it_is():
    order, secrets = ask(
        project="Shop_1.x-y",
        deployment="9f2c-a.b",
        workspace="acme",
        dockerfile_path="./deploy/Dockerfile.prod",
        target="release",
        platform="linux/arm64",
        args={"VERSION": "1=2\n3"},
        labels={"org.opencontainers.image.title": "Shop"},
        env={"TOKEN": SECRET},
    )
    assert order.context == UploadedContext(PATH)
    assert order.dockerfile_path == "deploy/Dockerfile.prod"
    assert order.args == {"VERSION": "1=2\n3"}
    assert secrets == Secrets(env={"TOKEN": SECRET})
    assert SECRET not in repr((order, secrets))


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        pytest.param({"project": ""}, "project must be given", id="no project"),
        pytest.param({"project": "../up"}, "project cannot be '../up'", id="a path"),
        pytest.param({"project": "x" * 64}, "project cannot be", id="long project"),
        pytest.param({"project": "-x"}, "project cannot be", id="begins with a dash"),
        pytest.param({"project": "a b"}, "project cannot be", id="a space"),
        pytest.param({"project": "shop\n"}, "project cannot be", id="a line"),
        pytest.param({"deployment": ""}, "deployment must be given", id="no deployment"),
        pytest.param({"deployment": "x" * 65}, "deployment cannot be", id="long deployment"),
        pytest.param({"workspace": "a/b"}, "workspace cannot be", id="workspace"),
        pytest.param({"workspace": None}, "workspace cannot be None", id="no text"),
        pytest.param({"dockerfile_path": ""}, "dockerfile_path cannot", id="no Dockerfile"),
        pytest.param({"dockerfile_path": "/etc/x"}, "dockerfile_path", id="absolute"),
        pytest.param({"dockerfile_path": "a/../../b"}, "dockerfile_path", id="goes up"),
        pytest.param({"dockerfile_path": "a//b"}, "dockerfile_path", id="empty part"),
        pytest.param({"target": "a b"}, "target cannot be", id="target"),
        pytest.param({"platform": "windows/amd64"}, "platform cannot be", id="platform"),
        pytest.param({"args": {"1X": ""}}, "args has the name '1X'", id="name of an argument"),
        pytest.param({"args": {"X": 1}}, "args['X'] must be a text", id="a number"),
        pytest.param({"args": ["X=1"]}, "args must be a mapping", id="a list"),
        pytest.param({"labels": {"": "x"}}, "labels has a name", id="label"),
        pytest.param({"labels": {"x": "y" * 70_000}}, "labels has 70001 bytes", id="much"),
        pytest.param({"env": {"A B": SECRET}}, "env has the name 'A B'", id="name in env"),
        pytest.param({"env": {"A": f"{SECRET}\0"}}, "env['A'] must be a text", id="zero byte"),
        pytest.param({"env": {"A": f"{SECRET}\udcff"}}, "env['A'] is no Unicode", id="half a pair"),
        pytest.param({"git_token": SECRET}, "git_token is for a git context", id="no git"),
        pytest.param({"git_token": f"{SECRET}\n"}, "git_token cannot be one", id="token"),
        pytest.param({"idempotency_key": 7}, "idempotency_key must be", id="key"),
        pytest.param({"idempotency_key": "a\nb"}, "idempotency_key has", id="key of two lines"),
        pytest.param({"context": "shop/../x/1.tar.gz"}, "context cannot be", id="key goes up"),
        pytest.param({"context": "/etc/passwd"}, "context cannot be", id="no key"),
        pytest.param({"context": b"tar"}, "context cannot be", id="bytes"),
    ],
)
def test_what_cannot_be_is_refused_by_name(changed, words):
    with pytest.raises(ServiceError) as caught:
        ask(**changed)
    assert caught.value.code == "invalid_argument"
    assert words in caught.value.message
    assert caught.value.hint
    assert SECRET not in str(caught.value)


def test_a_git_context_is_checked_again_and_public_ones_take_no_token():
    context = git("github.com", "acme", "shop", "main")
    _, secrets = ask(context, git_token=SECRET)
    assert secrets.git_token == SECRET
    with pytest.raises(ServiceError, match="not public"):
        ask(git("github.com", "acme", "shop", "main", is_public=True), git_token=SECRET)
    with pytest.raises(UsageError):
        ask(GitContext("github.com", "acme", "shop#x", "main"))


def test_an_idempotency_key_stands_for_everything_but_values_of_secrets():
    same = asked_for(*ask(args={"A": "1", "B": "2"}, env={"X": "1"}))
    assert same == asked_for(*ask(args={"B": "2", "A": "1"}, env={"X": "2"}, build_id="b2"))
    for changed in (
        {"env": {"Y": "1"}},
        {"target": "t"},
        {"args": {"A": "1"}},
        {"deployment": "e"},
    ):
        assert (
            asked_for(*ask(**({"args": {"A": "1", "B": "2"}, "env": {"X": "1"}} | changed))) != same
        )


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param({"project": "a/b"}, id="project"),
        pytest.param({"state": "done"}, id="state"),
        pytest.param({"page_size": 0}, id="no rows"),
        pytest.param({"page_size": 501}, id="too many rows"),
        pytest.param({"page_size": True}, id="a flag"),
        pytest.param({"page_token": "1 OR 1"}, id="token"),
        pytest.param({"page_token": "²"}, id="no digit"),
        pytest.param({"page_token": None}, id="no token"),
    ],
)
def test_a_list_is_asked_for_within_bounds(wrong):
    fine = {"project": "shop", "state": "queued", "page_size": 500, "page_token": "12"}
    check_listing(**fine)
    check_listing(project=None, state=None, page_size=1, page_token="")
    with pytest.raises(ServiceError, match=next(iter(wrong))):
        check_listing(**(fine | wrong))


@pytest.mark.parametrize("offset", [-1, 1.0, True, "1", 2**63])
def test_an_offset_is_a_whole_number(offset):
    assert check_offset(0) == 0
    with pytest.raises(ServiceError, match="offset cannot be"):
        check_offset(offset)


@pytest.mark.parametrize(
    ("n_tried", "since_s", "draw", "expected"),
    [
        pytest.param(1, 0, 0.0, 0.5, id="soon at first"),
        pytest.param(1, 0, 1.0, 1.0, id="half of it by chance"),
        pytest.param(3, 10, 1.0, 16.0, id="four times as long each time"),
        pytest.param(9, 100, 1.0, 60.0, id="a minute at most"),
        pytest.param(10, 0, 0.0, None, id="no more tries"),
        pytest.param(2, 1799, 1.0, None, id="no more time"),
    ],
)
def test_when_a_build_is_tried_again(n_tried, since_s, draw, expected):
    limits = Limits(max_attempts=10)
    assert pause_s(limits, n_tried=n_tried, since_first_s=since_s, draw=draw) == expected


@pytest.mark.parametrize("value", [0, -1, 1.5, True, None, "8"])
def test_a_limit_is_a_whole_number_from_one(value):
    with pytest.raises(ServiceError, match=r"Limits\(max_running=") as caught:
        Limits(max_running=value)
    assert caught.value.hint == "leave it out for 8"
