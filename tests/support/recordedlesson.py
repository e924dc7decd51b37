"""A lesson as it is recorded and played: run on a client, it says what came of every step of it.

Run as a program it plays a recording and prints the same, for a process that has no engine:
`python -m tests.support.recordedlesson RECORDING FOLDER SPEED WORD`.
"""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import depotlab as dl
from depotlab import errors, export, llb, mount

SECRET = "correct-horse-battery"


def outcome(result: Any) -> list[tuple[str, str]]:
    # A directory is called by a hash of its path, too, and the lesson is played in another one.
    return sorted(
        (re.sub(r"^(local://.*)-[0-9a-f]{8}$", r"\1", step.name), str(step.state))
        for step in result.steps
    )


def run_lesson(bk: Any, folder: Path, word: str) -> dict[str, Any]:
    """Do what a lesson does, and return what came of it as JSON has it."""
    told: dict[str, Any] = {}
    context = folder / "app"
    context.mkdir()
    (context / "a.txt").write_text("one\n")
    base = llb.image("busybox")
    app = base.copy(llb.local(context), "a.txt", "/a.txt").run(
        f"cat /a.txt; echo {word}", name="work"
    )
    told["first"] = outcome(bk.build(app, progress="quiet"))
    told["again"] = outcome(bk.build(app, progress="quiet"))
    (context / "a.txt").write_text("two\n")
    changed = bk.build(app, progress="quiet")
    told["changed"] = outcome(changed)
    told["log"] = str(changed.logs("work"))
    told["why"] = str(changed.why("work")).partition("\nCompared")[0]
    told["listing"] = [entry.path for entry in bk.ls(app, "/")]
    told["file"] = bk.read_text(app, "/a.txt")
    told["layers"] = [str(layer) for layer in bk.layers(app)]
    told["run"] = bk.run(app, "cat; cat /a.txt", stdin="input ").stdout
    bad = app.run(f"echo {word} > /left; exit 7", name="bad")
    try:
        bk.build(bad, progress="quiet")
    except errors.StepFailed as error:
        told["failed"] = [error.exit_code, error.step, error.locations[0].line]
        told["left"] = error.read("/left").decode().strip()
    leaf = llb.scratch().file(llb.mkfile("/x", b"x" * 100))
    for name, output in outputs(folder).items():
        told[name] = bk.build(leaf, output=output, progress="quiet").digest
    told["tar holds"] = (folder / "x.tar").stat().st_size
    told["local holds"] = (folder / "out/x").read_text()
    told["layout"] = (folder / "layout/index.json").is_file()
    dockerfile = dl.dockerfile(
        text=f"FROM busybox\nARG WHO\nRUN echo {word} $WHO\nCOPY a.txt /\n",
        context=context,
        args={"WHO": "me"},
    )
    told["dockerfile"] = outcome(bk.build(dockerfile, progress="quiet"))
    told["outline"] = repr(bk.outline(dockerfile))
    broken = dl.dockerfile(text=f"FROM busybox\nRUN echo {word}; false\n")
    try:
        bk.build(broken, progress="quiet")
    except errors.StepFailed as error:
        told["dockerfile line"] = error.locations[0].line
    hidden = base.run(f"cat /run/secrets/tok; echo {word}", mounts=[mount.secret("tok")])
    result = bk.build(hidden, secrets={"tok": SECRET.encode()}, progress="quiet")
    told["secret"] = [str(step.state) for step in result.steps]
    told["info"] = bk.info().version
    told["usage"] = len(bk.disk_usage())
    told["history"] = len(bk.history())
    told["record"] = len(bk.inspect(changed.ref).steps)
    return json.loads(json.dumps(told))  # type: ignore[no-any-return]


def outputs(folder: Path) -> dict[str, Any]:
    return {
        "tar": export.tar(folder / "x.tar"),
        "local": export.local(folder / "out"),
        "oci": export.oci(folder / "x.oci.tar"),
        "docker": export.docker(folder / "x.docker.tar"),
        "oci layout": export.oci(folder / "layout", tar=False),
    }


def main() -> None:
    path, folder, speed, word = sys.argv[1:]
    with dl.recorded(path, speed=float(speed)) as bk:
        told = run_lesson(bk, Path(folder), word)
        sys.stdout.write(json.dumps({"client": repr(bk), "told": told}))


if __name__ == "__main__":
    os.environ.pop("BUILDKIT_HOST", None)
    main()
