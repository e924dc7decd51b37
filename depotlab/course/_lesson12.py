"""Exercises of lesson 12, who calls whom."""

from __future__ import annotations

from depotlab.course._exercise import Judgement, exercise, right, wrong

_NEEDS = ("context", "secret", "base image", "delivery")


@exercise(
    "12.1",
    wants=set,
    solution="""
calls_you_for = {"context", "secret", "delivery"}
""",
    because="The builder asks you for what only you have, and hands the result to you in the same way. The base image"
    " is at a registry, and the builder goes there itself.",
)
def _calls_you_for(calls_you_for: set[str]) -> Judgement:
    if unknown := sorted(str(each) for each in calls_you_for - set(_NEEDS)):
        return wrong(
            f"`{unknown[0]}` is none of the four.",
            nudge=f"They are called {', '.join(map(repr, _NEEDS))}.",
        )
    if "base image" in calls_you_for:
        return wrong(
            "You have no `busybox` on this side: its layers never pass through your process.",
            nudge="Where are the layers of `busybox`, before a build?",
        )
    missing = [name for name in _NEEDS if name != "base image" and name not in calls_you_for]
    if not missing:
        return right(
            "Three of four. It calls you for what only you have, and in the same way it calls to hand the result over."
            " For the base image, it goes to the registry."
        )
    hints = {
        "context": "The files are in a folder of this computer. How could it come by them?",
        "secret": "Lesson 7: the value is in no graph and in no request.",
        "delivery": "The archive is made there and wanted here. Who starts that transfer?",
    }
    return wrong(f"There is more: {len(missing)} of them you left out.", nudge=hints[missing[0]])


@exercise(
    "12.2",
    wants=str,
    solution="""
heaviest = max(asked_you, key=lambda call: call.sent_bytes).subject
""",
    because="120 kB of `data.csv` are in the context; the token and all that is asked beside are a few bytes.",
)
def _heaviest(heaviest: str) -> Judgement:
    said = heaviest.strip().casefold()
    if said == "context":
        return right(
            "The context, and in it `data.csv`. `notes.txt` was not even listed: the frontend asks only for what a"
            " `COPY` names."
        )
    if said in {"token", "output 0"}:
        return wrong(
            f"`{heaviest}` is a few bytes of yours at most.",
            nudge="`max(asked_you, key=...)` finds the largest; the key is what you want to be large.",
        )
    if "." in said:
        return wrong(
            f"`{heaviest}` is the name of a call. What is asked for is what it is about.",
            nudge="A call may come more than once; its `.subject` says what it is about.",
        )
    return wrong(
        "No call of the builder has this subject.",
        nudge="`[(call.subject, call.sent_bytes) for call in asked_you]` shows them all.",
    )


@exercise(
    "12.3",
    wants=set,
    solution="""
not_again = {call.name for call in asked_you} - {call.name for call in again.asked_by("daemon")}
""",
    because="The step that needs the secret is cached, so nobody asks for it. The lists of files and the delivery are"
    " there again.",
)
def _not_again(not_again: set[str]) -> Judgement:
    # Logins and signs of life come and go: a registry may want a token, a long build is asked whether you are there.
    said = {str(each) for each in not_again if not str(each).startswith(("Auth.", "Health."))}
    if said == {"Secrets.GetSecret"}:
        return right(
            "The step that sees the secret is cached, so nobody asks for it. Files are asked for again: only their list"
            " can say whether they are the same."
        )
    if not said:
        return wrong("There is one.", nudge="Which step did not run, and what did it need?")
    if any(name.startswith("FileSend") for name in said):
        return wrong(
            "The archive was delivered both times: you asked for it both times.",
            nudge="Sets can be subtracted: `{...} - {...}`.",
        )
    if any(name.startswith("FileSync") for name in said):
        return wrong(
            "The files were asked for again. Their contents were not, but the list was.",
            nudge="Sets can be subtracted: `{...} - {...}`.",
        )
    return wrong(
        "Not quite.",
        nudge='Each of `again.asked_by("daemon")` has a `.name`, of two parts with a dot. Sets can be subtracted:'
        " `{...} - {...}`.",
    )
