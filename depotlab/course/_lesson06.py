"""Exercises of lesson 6, the context crosses the wire."""

from __future__ import annotations

from depotlab._contexts import context
from depotlab.course._exercise import Judgement, exercise, right, wrong

_FILES = {
    "app/main.py": "print('hello')\n",
    "app/debug.log": "started\n",
    "debug.log": "started\n",
    "notes/todo.md": "- sleep\n",
    "notes/keep.md": "- breathe\n",
    ".env": "TOKEN=s3cret\n",
}
_WANTED = {"app/main.py", "notes/keep.md"}


@exercise(
    "06.1",
    wants=str,
    solution='''
rules = """
**/*.log
.env
notes
!notes/keep.md
"""
''',
    because="`**/` reaches every depth, a directory takes all that is in it along, and `!` takes"
    " one back. The last line that"
    " matches a path decides.",
)
def _rules(rules: str) -> Judgement:
    offered = dict(_FILES) | {".dockerignore": rules}
    preview = context(offered).preview()
    sent = {file.path for file in preview.files()} - {".dockerignore", "Dockerfile"}
    if sent == _WANTED:
        return right(
            "`app/main.py` and `notes/keep.md` cross, and nothing else. The rules are applied on"
            " your side of the wire:"
            " what they leave out is not even named to the builder."
        )
    if extra := sorted(sent - _WANTED):
        return wrong(f"`{extra[0]}` still crosses.", nudge=_RULE_NUDGES[extra[0]])
    lost = min(_WANTED - sent)
    return wrong(
        f"`{lost}` does not cross any more: {preview.why(lost)}.",
        nudge="The last rule that matches decides, and one that begins with `!` takes back.",
    )


_RULE_NUDGES = {
    "app/debug.log": "`*.log` matches at the top only; `**/` before it reaches every depth.",
    "debug.log": "`**/*.log` is for logs at every depth, the top included.",
    "notes/todo.md": "The name of a directory leaves out all that is in it.",
    ".env": "A rule may be just a name.",
}


@exercise(
    "06.2",
    wants=(bool, bool),
    solution="""
crosses, runs = True, False
""",
    because="What crosses is decided by size and time, without reading: a new time, so the file is"
    " sent. What runs is"
    " decided by content: the same bytes, so the copy is found in the cache.",
)
def _touched(crosses: bool, runs: bool) -> Judgement:
    if crosses and not runs:
        return right(
            "The list of files has another time, so the content is asked for; then it is hashed,"
            " and the hash is the old"
            " one. Two questions, two answers: what to send goes by size and time, what to run"
            " by content."
        )
    if runs:
        return wrong(
            "The copy does not run again.",
            nudge="Lesson 5: of what is the key of a copy made? Times are not in it.",
        )
    return wrong(
        "The file does cross.",
        nudge="The builder has the old list and gets the new one. What is different in it, before"
        " anybody has read the"
        " file?",
    )


@exercise(
    "06.3",
    wants=dict,
    solution="""
files = {
    "app/main.py": "print('from memory')",
    "VERSION": "1.0",
}
""",
    because="A context is where `COPY` finds its files; whether they come from a disk is nobody's"
    " business.",
)
def _memory(files: dict[str, str]) -> Judgement:
    names = {str(name) for name in files}
    if rooted := sorted(name for name in names if name.startswith("/")):
        return wrong(
            f"`{rooted[0]}` begins at a root, and a context has none.",
            nudge="Paths in a context are relative to it, as in the `COPY` lines.",
        )
    needed = {"app/main.py", "VERSION"}
    if missing := sorted(needed - names):
        return wrong(
            f"The build would fail: there is no `{missing[0]}`.",
            nudge="The keys are paths, as `COPY` says them; the values are what is in the files.",
        )
    if extra := sorted(names - needed):
        return wrong(
            f"It would build, and nothing copies `{extra[0]}`.",
            nudge="Give only what the two `COPY` lines name.",
        )
    if not all(isinstance(content, str | bytes) for content in files.values()):
        return wrong(
            "A file's content is a text or bytes.", nudge='Such as `{"app/main.py": "print(1)"}`.'
        )
    return right(
        "Two files that were never on a disk. `dl.dockerfile(files, text=...)` builds them as it"
        " would a directory: what"
        " crosses the wire looks the same."
    )
