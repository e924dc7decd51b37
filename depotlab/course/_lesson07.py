"""Exercises of lesson 7, five mounts."""

from __future__ import annotations

from depotlab import llb, mount
from depotlab._proto import ops_pb2
from depotlab.course._exercise import Judgement, exercise, right, wrong
from depotlab.llb import State

_CHANGES = ("bind", "secret", "ssh", "cache")


@exercise(
    "07.1",
    wants=set,
    solution="""
runs_again = {"bind"}
""",
    because="The files of a bind mount are an input of the step, like the root file system. Of the others the step has"
    " only a name: what is behind it may change from build to build.",
)
def _runs_again(runs_again: set[str]) -> Judgement:
    if unknown := sorted(str(each) for each in runs_again - set(_CHANGES)):
        return wrong(
            f"`{unknown[0]}` is none of the four changes.",
            nudge=f"They are called {', '.join(map(repr, _CHANGES))}.",
        )
    if runs_again == {"bind"}:
        return right(
            "The files of a bind mount are an input, like the root file system. Of a secret, an agent and a cache the"
            " key has no more than a name or a place; what is behind that may change."
        )
    if "bind" not in runs_again:
        return wrong(
            "A bind mount is in the graph with all that it holds, and you left it out.",
            nudge="In the picture it has a box and an arrow. The others are marks.",
        )
    if "secret" in runs_again:
        return wrong(
            "Not the secret: the graph has its id, `token`, and nothing else.",
            nudge="If the value were in the key, everybody who sees the key could guess at it. Which of the others does"
            " the graph know by a name only?",
        )
    return wrong(
        f"Not `{sorted(runs_again - {'bind'})[0]}`: the graph knows it by a name only.",
        nudge="What changes behind a name, the builder does not see before it runs the step.",
    )


@exercise(
    "07.2",
    wants=State,
    solution="""
safe = llb.image("busybox").run(
    "echo $TOKEN | wc -c > /size", mounts=[mount.secret("token", env="TOKEN")], name="log in"
)
""",
    because="The graph says that there is a secret called `token` and where the step sees it. Its value comes over the"
    " session when the step starts.",
)
def _safe(safe: State) -> Judgement:
    definition = safe.marshal(local_unique_id="")
    ops = [ops_pb2.Op.FromString(view.data) for view in definition.ops]
    runs = [op.exec for op in ops if op.WhichOneof("op") == "exec"]
    if b"s3cr3t" in definition.to_bytes():
        return wrong(
            "The value is still in the graph.",
            nudge="Leave `.env(TOKEN=...)` out: nothing of the value belongs into the state.",
        )
    if len(runs) != 1 or "$TOKEN" not in " ".join(runs[0].meta.args):
        return wrong(
            "The command is another one: it is to read `$TOKEN`, as in `leaky`, in one run.",
            nudge="Copy the `run` of `leaky`, and add `mounts=[...]` to it.",
        )
    variables = {secret.name: secret.ID for secret in runs[0].secretenv}
    files = {each.secretOpt.ID: each.dest for each in runs[0].mounts if each.secretOpt.ID}
    if variables.get("TOKEN") == "token":
        return right(
            "The value is gone from the graph; what is left is a name. `bk.build(safe, secrets={'token': ...})` hands"
            " it over when the step starts."
        )
    if "token" in files:
        return wrong(
            f"The step sees the secret as the file `{files['token']}`, and the command reads a variable.",
            nudge="`mount.secret` has an argument for that: `help(mount.secret)`.",
        )
    if variables or files:
        seen = [*variables.items(), *((dest, id_) for id_, dest in files.items())]
        said = ", ".join(f"the secret `{id_}` as `{name}`" for name, id_ in seen)
        return wrong(
            f"The step sees {said}; it is to see the secret `token` as `TOKEN`.",
            nudge="The id of the secret comes first, the variable is `env=`.",
        )
    return wrong(
        "The value is gone, and so is the secret: `$TOKEN` is empty.",
        nudge="A secret is a mount of the run: `mounts=[mount.secret(...)]`.",
    )


@exercise(
    "07.3",
    wants=State,
    solution="""
only = made.mounted("/out")
""",
    because="The writable mount is the second output of the run. No copy, no clean-up: the compiler stays behind.",
)
def _only(only: State) -> Judgement:
    made = llb.image("busybox").run(
        "seq 1 100 > /out/numbers", mounts=[mount.bind("/out")], name="make"
    )
    if only == made.mounted("/out"):
        return right(
            "The writable mount is the second output of the run, and that is the whole state: one file. The image that"
            " made it stays behind."
        )
    if only == made:
        return wrong(
            "This is the root file system after the run: all of busybox, and not the numbers, which went to the mount.",
            nudge="A run has two outputs here. You hold the first one.",
        )
    ops = only.marshal(local_unique_id="").ops
    run = made.digest
    if any(view.kind == "file" and (run, 1) in view.inputs for view in ops):
        return right(
            "The file is there and nothing else is. You made one copy more than you need: `made.mounted('/out')` *is*"
            " this state."
        )
    if ops and ops[-1].inputs[:1] == ((run, 0),):
        return wrong(
            "This is the root file system after the run.", nudge="Ask for what the mount became."
        )
    return wrong(
        "This state does not have what the run wrote to `/out`.",
        nudge="The paragraph above names the method that gives you what a mount became.",
    )
