"""A graph and the Dockerfile that it is said as make the same files."""

import random
import stat

import pytest

import depotlab as dl
from depotlab import export, llb, mount
from depotlab._proto import ops_pb2


def files(root):
    """Return what a directory holds, by path: mode and content; times are not compared."""
    found = {}
    for path in sorted(root.rglob("*")):
        info = path.lstat()
        mode = stat.S_IFMT(info.st_mode) | stat.S_IMODE(info.st_mode)
        content = path.readlink() if path.is_symlink() else b""
        found[str(path.relative_to(root))] = (
            mode,
            path.read_bytes() if path.is_file() else content,
        )
    return found


@pytest.fixture
def same(bk, tmp_path):
    def check(state, **options):
        said = state.to_dockerfile()
        target = dl.dockerfile(said.context, text=said.text, contexts=said.contexts)
        results = []
        for number, one in enumerate((state, target)):
            out = tmp_path / f"out{number}"
            bk.build(one, output=export.local(out), progress="quiet", **options)
            results.append(files(out))
        assert results[0] == results[1], said.text
        return results[0]

    return check


BASE = llb.image("busybox")


def test_steps_settings_and_mounts(same):
    state = (
        BASE.env(LEVEL='high "$x" \\')
        .dir("/srv")
        .run("echo $LEVEL > level; pwd > here", mounts=[mount.cache("/c"), mount.tmpfs("/t")])
        .run(["sh", "-c", "cat /s > secret"], mounts=[mount.secret("key", "/s")])
        .user("1000")
        .run("id -u > /tmp/who || true")
        .run("cat <<EOF > /tmp/doc\n$LEVEL \\\\ and `pwd`\nEOF\n")
    )
    found = same(state, secrets={"key": "value"})
    assert found["srv/level"][1] == b'high "$x" \\\n'
    assert found["srv/secret"][1] == b"value"


def test_files_directories_and_contexts(same, tmp_path):
    for name in ("one", "two"):
        (tmp_path / name / "deep").mkdir(parents=True)
        (tmp_path / name / "deep" / "file").write_text(name)
        (tmp_path / name / "run.sh").write_text("#!/bin/sh\n")
        (tmp_path / name / "run.sh").chmod(0o755)
    one, two = (llb.local(tmp_path / name, name=name) for name in ("one", "two"))
    state = (
        llb.scratch()
        .mkdir("/etc/app", parents=True)
        .mkfile("/etc/app/conf", "a = $1\nEOF\n", mode=0o600)
        .copy(one, "deep", "/one")
        .copy(one, "run.sh", "/bin/", mode=0o700)
        .copy(two, ".", "/two")
        .copy(BASE, "/bin/busybox", "/bin/busybox", owner="1:2")
    )
    found = same(state)
    assert found["two/deep/file"][1] == b"two"
    assert found["etc/app/conf"][1] == b"a = $1\nEOF\n"


def test_branches_copies_and_merges(same):
    deps = BASE.run("mkdir /deps; echo deps > /deps/x", name="deps")
    made = deps.run("mkdir /out; cp /deps/x /out/y")
    state = deps.copy(made, "/out/y", "/made").run(
        "ls /b > /listed", mounts=[mount.bind("/b", made)]
    )
    state = llb.merge(state, llb.scratch().mkfile("/merged", "yes\n"))
    found = same(state)
    assert {"made", "merged", "listed"} <= set(found)


def test_a_dockerfile_that_became_a_graph_becomes_a_dockerfile_again(bk, same, tmp_path):
    (tmp_path / "context").mkdir()
    (tmp_path / "context" / "a").write_text("a")
    text = (
        "FROM busybox AS one\nENV A=1\nWORKDIR /w\nRUN echo $A > a\nFROM one\n"
        "COPY a /b\nRUN --mount=type=cache,target=/c cat /b > d\nUSER 1000\n"
    )
    found = same(bk.to_state(dl.dockerfile(tmp_path / "context", text=text)))
    assert found["w/d"][1] == b"a"


PIECES = ("a", "$HOME", "'x'", '"y"', "\\", "\n", " ", "#", "<<", "&&", "`", "${A:-b}", "\t", "[1]")
PIECES += ("--x", "é", "|", ";", "=", "@", "$$", "\\\n", "EOF\n", ",")


def test_words_are_read_as_they_were_written(bk):
    chance = random.Random(7)

    def words(most):
        return "".join(chance.choice(PIECES) for _ in range(chance.randint(1, most)))

    values = {f"V{number}": words(5).replace("\n", "") for number in range(60)}
    state = BASE.env(values)
    for _ in range(120):
        command = words(8)
        state = state.run(command if command.strip() else "true")
    again = bk.to_state(dl.dockerfile(text=state.to_dockerfile().text))
    commands = [
        [ops_pb2.Op.FromString(op).exec.meta.args for op in one.marshal().data]
        for one in (state, again)
    ]
    assert list(map(list, commands[0])) == list(map(list, commands[1]))
    assert values.items() <= again.image_config().env.items()
