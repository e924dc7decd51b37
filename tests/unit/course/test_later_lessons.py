"""The exercises of lessons 7 to 12: solutions are right, and what a wrong answer is told is about that answer."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from depotlab import course, llb, mount
from depotlab.llb import State

BUSYBOX = llb.image("busybox")
MADE = BUSYBOX.run("seq 1 100 > /out/numbers", mounts=[mount.bind("/out")], name="make")
DEBIAN = llb.scratch().mkfile("/os", "big").mkfile("/manual", "1000 pages")
TINY = llb.scratch().mkfile("/os", "small")
INSTALLED = DEBIAN.mkfile("/tool", "cuts")
COUNT = "echo $TOKEN | wc -c > /size"


def layer(**files: str) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
    return gzip.compress(packed.getvalue())


CALLS = [
    SimpleNamespace(name=name, subject=subject, sent_bytes=size)
    for name, subject, size in (
        ("FileSync.DiffCopy", "context", 120_000),
        ("Secrets.GetSecret", "token", 8),
        ("FileSend.DiffCopy", "output 0", 0),
    )
]

# What the cells before an exercise leave behind for its solution.
SCENES: dict[str, dict[str, Any]] = {
    "07.2": {"llb": llb, "mount": mount},
    "07.3": {"made": MADE},
    "08.3": {"llb": llb, "debian_like": DEBIAN, "tiny": TINY, "installed": INSTALLED},
    "09.1": {
        "gzip": gzip,
        "io": io,
        "tarfile": tarfile,
        "manifest": {"layers": ["first", "second"]},
        "blob": lambda descriptor: layer(**{"first": {}, "second": {"password": "hunter2\n"}}[descriptor]),
    },
    "09.2": {"hashlib": hashlib},
    "11.3": {
        "mystery": SimpleNamespace(
            ls=lambda _: ["start.log"],
            read=lambda _: b"reading configuration\ncat: can't open '/etc/app/license.key': No such file\n"
        )
    },
    "12.2": {"asked_you": CALLS},
    "12.3": {"asked_you": CALLS, "again": SimpleNamespace(asked_by=lambda _: CALLS[::2])},
}  # fmt: skip

ANSWERS = {
    "07.1": ["runs_again"],
    "07.2": ["safe"],
    "07.3": ["only"],
    "08.1": ["in_the_chain", "side_by_side_runs"],
    "08.2": ["color"],
    "08.3": ["on_tiny"],
    "09.1": ["password"],
    "09.2": ["digest_of"],
    "09.3": ["renamed"],
    "10.1": ["different_layers"],
    "10.2": ["usable"],
    "10.3": ["command"],
    "11.1": ["runs_again"],
    "11.2": ["who_saw_the_typo", "who_saw_the_missing_file", "who_saw_the_missing_secret"],
    "11.3": ["missing"],
    "11.4": ["corrected"],
    "12.1": ["calls_you_for"],
    "12.2": ["heaviest"],
    "12.3": ["not_again"],
}


@pytest.mark.parametrize(("exercise", "names"), ANSWERS.items(), ids=ANSWERS)
def test_a_solution_is_right_and_an_open_gap_is_no_mistake(exercise, names):
    scene = dict(SCENES.get(exercise, {}))
    exec(course.solution(exercise).source, scene)
    feedback = course.check(exercise, *[scene[name] for name in names])
    assert feedback, str(feedback)
    assert course.check(exercise, *[...] * len(names)).standing == "open"


def with_token(*mounts: Any) -> State:
    return BUSYBOX.run(COUNT, mounts=list(mounts))


def raises(_: bytes) -> str:
    raise KeyError("x")


def bare_hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def raw_hash(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


@pytest.mark.parametrize(
    ("exercise", "answer", "told"),
    [
        ("07.1", {"bind", "secret"}, "Not the secret"),
        ("07.1", {"bind", "cache"}, "Not `cache`"),
        ("07.1", set(), "with all that it holds"),
        ("07.1", {"bind", "tmpfs"}, "`tmpfs` is none of the four"),
        ("07.2", BUSYBOX.env(TOKEN="s3cr3t").run(COUNT), "still in the graph"),
        ("07.2", BUSYBOX.run("true", mounts=[mount.secret("token")]), "command is another one"),
        ("07.2", with_token(), "`$TOKEN` is empty"),
        ("07.2", with_token(mount.secret("token")), "the file `/run/secrets/token`"),
        ("07.2", with_token(mount.secret("other", env="TOKEN")), "`other` as `TOKEN`"),
        ("07.3", MADE, "the first one"),
        ("07.3", MADE.dir("/out"), "root file system after the run"),
        ("07.3", llb.scratch(), "does not have what the run wrote"),
        ("07.3", llb.scratch().copy(MADE, "/out", "/"), "does not have what the run wrote"),
        ("08.1", (1, 1), "In the chain it is not 1"),
        ("08.1", (3, 3), "Side by side it is not 3"),
        ("08.2", "red", "something lies on it"),
        ("08.2", "green", "in neither of them"),
        ("08.3", TINY, "no `merge`"),
        ("08.3", llb.diff(DEBIAN, INSTALLED), "base is missing"),
        ("08.3", llb.merge(TINY, INSTALLED), "all of `debian_like`"),
        ("08.3", llb.merge(llb.diff(DEBIAN, INSTALLED), TINY), "on top of the tool"),
        ("08.3", llb.merge(TINY, llb.diff(INSTALLED, DEBIAN)), "comes first"),
        ("08.3", TINY.copy(INSTALLED, "/tool", "/"), "knew the name"),
        ("09.1", "hello\n", "the greeting"),
        ("09.1", b"", "only hides"),
        ("09.1", b"x hunter2 x", "more around it"),
        ("09.1", "swordfish", "No file of the image"),
        ("09.2", raises, "KeyError"),
        ("09.2", bare_hash, "one part more"),
        ("09.2", raw_hash, "as bytes"),
        ("09.2", lambda _: None, "returns nothing"),
        ("09.2", lambda _: "md5:1", "gives `md5:1`"),
        ("09.3", {"config"}, "has that digest in it"),
        ("09.3", {"manifest"}, "which document has it"),
        ("09.3", {"config", "manifest", "last layer"}, "a label is no file"),
        ("09.3", {"index"}, "none of the four"),
        ("10.1", 4, "two of them are the same"),
        ("10.1", 2, "It is not 2"),
        ("10.2", {"copy", "mkfile", "rm", "run"}, "made for the other platform"),
        ("10.2", {"copy"}, "`mkfile` works as well"),
        ("10.2", {"cp"}, "none of the four"),
        ("10.3", "date -u", "asks the clock"),
        ("10.3", "date -u -d @0", "the moment in the variable"),
        ("10.3", "echo 0", "prints no date"),
        ("10.3", "date -d @SOURCE_DATE_EPOCH", "not its value"),
        ("10.3", "date -d '@$SOURCE_DATE_EPOCH'", "single quotes"),
        ("10.3", "echo $SOURCE_DATE_EPOCH", "not a date"),
        ("10.3", "date -u -d $SOURCE_DATE_EPOCH", "given in seconds"),
        ("11.1", 1, "with the *old* command"),
        ("11.1", 3, "It is not 3"),
        ("11.2", ("you", "builder", "you"), "the first error"),
        ("11.2", ("frontend", "frontend", "you"), "correct as a text"),
        ("11.2", ("frontend", "builder", "builder"), "came at once"),
        ("11.2", ("me", "builder", "you"), "`me` is none of the three"),
        ("11.3", "/var/log/app/start.log", "it is not missing"),
        ("11.3", "can't open '/etc/app/license.key'", "the path alone"),
        ("11.3", "settings", "something else"),
        ("11.3", "/app/license.key", "its path is not"),
        ("11.4", "FROM busybox\nCOPY srv.py /app/\n", "still there"),
        ("11.4", "COPY server.py /app/\n", "begin with `FROM`"),
        ("11.4", "FROM busybox\nRUN echo server.py\n", "No line copies"),
        ("11.4", "FROM busybox\nCOPY server.py /app/srv.py\n", "gives it the name"),
        ("11.4", "FROM busybox\nCOPY server.py /\n", "No line copies"),
        ("12.1", {"base image"}, "never pass through your process"),
        ("12.1", {"context", "secret"}, "Who starts that transfer?"),
        ("12.1", set(), "a folder of this computer"),
        ("12.1", {"dockerfile"}, "none of the four"),
        ("12.2", "token", "a few bytes"),
        ("12.2", "FileSync.DiffCopy", "the name of a call"),
        ("12.2", "image", "No call of the builder"),
        ("12.3", set(), "There is one"),
        ("12.3", {"FileSend.DiffCopy"}, "delivered both times"),
        ("12.3", {"FileSync.DiffCopy", "Secrets.GetSecret"}, "the list was"),
        ("12.3", {"GetSecret"}, "Not quite"),
    ],
)
def test_a_wrong_answer_is_told_what_is_different(exercise, answer, told):
    feedback = course.check(exercise, *(answer if isinstance(answer, tuple) else (answer,)))
    assert feedback.standing == "not yet"
    assert told in f"{feedback.text} {feedback.nudge}"
    assert feedback.nudge


@pytest.mark.parametrize(
    ("exercise", "answer"),
    [
        ("07.3", llb.scratch().copy(MADE.mounted("/out"), "/numbers", "/")),
        ("09.1", b"hunter2\n"),
        ("10.3", 'date -d "@${SOURCE_DATE_EPOCH}"'),
        ("10.3", "date -ud @$SOURCE_DATE_EPOCH"),
        ("11.3", b"/etc/app/license.key\n"),
        ("12.3", {"Secrets.GetSecret", "Health.Check"}),
        ("11.4", "FROM busybox\nWORKDIR /app\nCOPY ./server.py .\n"),
        ("11.4", 'FROM busybox\nCOPY ["server.py", "/app/"]\n'),
        ("11.4", "from busybox\n\nWORKDIR /x\ncopy --chmod=600 server.py /app/server.py"),
    ],
)
def test_another_way_to_the_same_is_right_too(exercise, answer):
    assert course.check(exercise, answer)


def returns(value: object) -> Callable[[bytes], object]:
    return lambda _: value


def test_a_function_is_tried_with_more_than_one_input():
    assert not course.check("09.2", returns("sha256:" + hashlib.sha256(b"hello").hexdigest()))
