"""The exercises of lessons 1 to 6: solutions are right, and what a wrong answer is told is about that answer."""

from __future__ import annotations

from typing import Any

import pytest

from depotlab import course, llb, mount

BASE = llb.image("busybox")

# What the cells before an exercise leave behind for its solution, and what the check is given.
GIVEN = {"llb": llb, "base": BASE}
ANSWERS = {
    "01.1": ["plan"],
    "01.2": ["n_ops"],
    "01.3": ["same"],
    "02.1": ["levelled"],
    "02.2": ["n_runs"],
    "02.3": ["stamp"],
    "03.1": ["ops"],
    "03.2": ["mine"],
    "03.3": ["graph_of"],
    "04.1": ["graph"],
    "04.2": ["seconds"],
    "04.3": ["runs"],
    "05.1": ["fast"],
    "05.2": ["runs"],
    "05.3": ["calm"],
    "06.1": ["rules"],
    "06.2": ["crosses", "runs"],
    "06.3": ["files"],
}


@pytest.mark.parametrize("name", ANSWERS)
def test_the_solution_is_right(name):
    names: dict[str, Any] = dict(GIVEN)
    exec(course.solution(name).source, names)
    feedback = course.check(name, *(names[answer] for answer in ANSWERS[name]))
    assert feedback.standing == "right", str(feedback)


def levelled(keep):
    def made():
        state = BASE
        changed = state.env(LEVEL=keep)
        return (changed if keep else state).run("echo $LEVEL > /level")

    return made


def noisy(stamp):
    return (
        BASE.env(STAMP=stamp)
        .run("echo 42 > /answer; echo $STAMP > /log", name="compute")
        .run("cat /answer > /printed", name="print")
    )


def calmer(*, settings=BASE, take="/answer"):
    def made(stamp):
        computed = BASE.env(STAMP=stamp).run("echo 42 > /answer", name="compute")
        return settings.copy(computed, take, "/").run("cat /answer > /printed", name="print")

    return made


def mounted(stamp):
    made = BASE.env(STAMP=stamp).run("echo 42 > /answer; echo $STAMP > /log", name="compute")
    return BASE.run("cat /in/answer", mounts=[mount.bind("/in", made)], name="print")


def slow(code):
    source = llb.scratch().mkfile("/main.py", code)
    return (
        BASE.copy(source, "/main.py", "/app/")
        .run("echo tools > /tools", name="install")
        .run("cat /tools /app/main.py > /out", name="compile")
    )


def too_fast(code):
    source = llb.scratch().mkfile("/main.py", code)
    return (
        BASE.run("echo tools > /tools", name="install")
        .run("true", name="compile")
        .copy(source, "/main.py", "/app/")
    )


def graph_of(text):
    made = llb.scratch()
    for line in text.splitlines():
        path, content = line.split(": ", 1) if ": " in line else (line, "")
        made = made.mkfile(path, content)
    return made


def only_directories(text):
    made = llb.scratch()
    for line in text.splitlines():
        if line.startswith("mkdir "):
            made = made.mkdir(line[6:])
    return made


LINTED = BASE.run("echo fine > /lint", name="lint")


@pytest.mark.parametrize(
    ("name", "answers", "told"),
    [
        ("01.1", [BASE], "0 runs"),
        ("01.1", [BASE.run("echo hi > /app/greeting")], "its build would fail"),
        ("01.1", [BASE.run("echo hi > /greeting")], "does not write `/app/greeting`"),
        ("01.1", [llb.image("alpine").run("mkdir /app; echo > /app/greeting")], "busybox"),
        ("01.1", [llb.scratch()], "busybox"),
        ("01.2", [6], "One too many"),
        ("01.2", [3], "has to be made as well"),
        ("01.2", [12], "not 12"),
        ("01.3", [{"a variable"}], "Not `a variable`"),
        ("01.3", [{"another name"}], "one more"),
        ("01.3", [{"nonsense"}], "none of the four"),
        ("02.1", [levelled("")], "no variable `LEVEL`"),
        ("02.1", [levelled("low")], "`LEVEL=low`"),
        ("02.1", [lambda: 3], "returns a value of type `int`"),
        ("02.2", [4], "fewer are different"),
        ("02.2", [3], "go on"),
        ("02.2", [7], "not 7"),
        ("02.3", [lambda state: state.run("echo > /stamp")], "no shell"),
        ("02.3", [lambda state: state.mkfile("/stomp", "")], "no `/stamp`"),
        ("02.3", [lambda state: None], "makes a value of type `NoneType`"),
        ("02.3", [lambda state: state.mkdir("/d").mkfile("/stamp", "")], "3 operations"),
        ("03.1", [{"FROM", "RUN", "COPY", "CMD"}], "Not `CMD`"),
        ("03.1", [{"FROM", "RUN", "COPY"}], "one more of them makes something"),
        ("03.1", [{"RUN"}], "there are more"),
        ("03.1", [{"VOLUME"}], "not in this Dockerfile"),
        ("03.2", [BASE], "0 runs"),
        ("03.2", [BASE.dir("/srv").run("echo $LEVEL > level")], "no `LEVEL=high`"),
        ("03.2", [BASE.env(LEVEL="high").run("echo $LEVEL > level")], "starts in `/`"),
        ("03.2", [BASE.env(LEVEL="high").dir("/srv").run("true")], "command is `true`"),
        (
            "03.2",
            [BASE.env(LEVEL="high").dir("/srv").run("echo $LEVEL > level")],
            "what to start",
        ),
        ("03.3", [graph_of], "`mkfile /mkdir /songs`"),
        ("03.3", [only_directories], "`/songs/first` is not made"),
        ("03.3", [lambda text: text], "makes a value of type `str`"),
        ("04.1", [LINTED], "writes `/test`"),
        ("04.1", [LINTED.run("echo passed > /test", name="test")], "still reads the other"),
        ("04.1", [BASE.run("touch /lint /test")], "One run writes both"),
        ("04.2", [20], "time of a list"),
        ("04.2", [10], "slowest path"),
        ("04.2", [9], "not all"),
        ("04.2", [1], "not 1"),
        ("04.3", [{"fetch", "compile", "render", "test"}], "`test` reads files"),
        ("04.3", [{"compile", "render"}], "`fetch` is needed"),
        ("04.3", [{"pack"}], "no step here"),
        ("05.1", [slow], "still reads the code"),
        ("05.1", [too_fast], "does not see the code"),
        ("05.1", [lambda code: slow("the same")], "does not get in"),
        ("05.1", [lambda code: BASE.run("true")], "no step called `install`"),
        ("05.1", [lambda code: code], "returns a value of type `str`"),
        ("05.2", [{"configure"}], "One more"),
        ("05.2", [{"prepare", "configure", "show"}], "before `env`"),
        ("05.2", [{"deploy"}], "no step here"),
        ("05.3", [noisy], "still has the variable"),
        ("05.3", [calmer(settings=BASE.env(STAMP="x"))], "still has the variable"),
        ("05.3", [calmer(take="/")], "may come along"),
        ("05.3", [mounted], "by a mount"),
        ("05.3", [lambda stamp: calmer()("always")], "does not get the stamp"),
        ("05.3", [lambda stamp: BASE], "no step called `compute`"),
        ("05.3", [lambda stamp: stamp], "returns a value of type `str`"),
        ("06.1", ["*.log\n.env\nnotes\n!notes/keep.md"], "`app/debug.log` still crosses"),
        ("06.1", ["**/*.log\n.env"], "`notes/todo.md` still crosses"),
        ("06.1", ["**/*.log\n.env\nnotes"], "`notes/keep.md` does not cross"),
        ("06.1", ["**/*.log\nnotes\n!notes/keep.md"], "`.env` still crosses"),
        ("06.1", ["*"], "does not cross any more"),
        ("06.2", [True, True], "does not run again"),
        ("06.2", [False, False], "does cross"),
        ("06.2", [False, True], "does not run again"),
        ("06.3", [{"app/main.py": ""}], "no `VERSION`"),
        ("06.3", [{"app/main.py": "", "VERSION": "", "README": ""}], "nothing copies `README`"),
        ("06.3", [{"app/main.py": "", "VERSION": 1.0}], "a text or bytes"),
        ("06.3", [{"/app/main.py": "", "VERSION": ""}], "begins at a root"),
    ],
)
def test_what_is_told_of_a_wrong_answer_is_about_that_answer(name, answers, told):
    feedback = course.check(name, *answers)
    assert feedback.standing == "not yet"
    assert told in feedback.text
    assert feedback.nudge


@pytest.mark.parametrize(
    ("name", "answers"),
    [
        ("01.1", [BASE.dir("/app").run("echo hi > greeting")]),
        ("01.1", [BASE.run("mkdir -p /app; printf hi > /app/greeting")]),
        (
            "04.1",
            [llb.merge(LINTED, llb.diff(BASE, BASE.run("echo passed > /test", name="test")))],
        ),
        ("06.1", ["*\n!app\n!notes\n**/*.log\nnotes/todo.md"]),
        ("06.3", [{"app/main.py": b"", "VERSION": ""}]),
        ("01.1", [BASE.mkdir("/app").run("echo hi > /app/greeting")]),
        (
            "02.3",
            [lambda state: state.file(llb.mkdir("/d").mkfile("/d/x", "").mkfile("/stamp", ""))],
        ),
        ("04.1", [llb.merge(LINTED, BASE.run("echo passed > /test", name="test"))]),
    ],
)
def test_another_right_way_is_right_as_well(name, answers):
    feedback = course.check(name, *answers)
    assert feedback.standing == "right", str(feedback)


def shell_less(stamp):
    made = BASE.env(STAMP=stamp).run("echo 42 > /answer", name="compute")
    return llb.scratch().copy(made, "/answer", "/").run("cat /answer > /printed", name="print")


def from_another_step(stamp):
    made = BASE.env(STAMP=stamp).run("echo 42 > /answer", name="compute")
    ready = BASE.run("mkdir /work").copy(made, "/answer", "/")
    return ready.run("cat /answer > /printed", name="print")


def late_level():
    return BASE.run("echo $LEVEL > /level").env(LEVEL="high")


def no_variable():
    return BASE.run("echo high > /level")


def lazy_language(text):
    made = llb.scratch()
    for line in text.splitlines():
        is_directory = "mkdir" in line
        made = made.mkdir(line.split()[-1]) if is_directory else made.mkfile(*line.split(": ", 1))
    return made


@pytest.mark.parametrize(
    ("name", "answer", "standing", "told"),
    [
        pytest.param(
            "01.1",
            BASE.run("mkdir /app && echo hello > /app/greeting"),
            "not yet",
            "`hi`",
            id="01.1",
        ),
        pytest.param("02.1", late_level, "not yet", "empty line", id="02.1 late"),
        pytest.param("02.1", no_variable, "not yet", "what the variable says", id="02.1 without"),
        pytest.param(
            "03.2",
            llb.image("alpine")
            .env(LEVEL="high")
            .dir("/srv")
            .run("echo $LEVEL > level")
            .cmd(["cat", "/srv/level"]),
            "not yet",
            "busybox",
            id="03.2",
        ),
        pytest.param("03.3", lazy_language, "not yet", "/title", id="03.3"),
        pytest.param("05.3", shell_less, "not yet", "no shell", id="05.3 scratch"),
        pytest.param("05.3", from_another_step, "right", "one file", id="05.3 another"),
    ],
)
def test_what_readers_tried_is_judged_by_what_it_does(name, answer, standing, told):
    feedback = course.check(name, answer)
    assert (feedback.standing, told in str(feedback)) == (standing, True), str(feedback)
