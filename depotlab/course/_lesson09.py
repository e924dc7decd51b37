"""Exercises of lesson 9, layers, config and index."""

from __future__ import annotations

import hashlib
from types import FunctionType

from depotlab.course._exercise import Judgement, exercise, right, wrong


@exercise(
    "09.1",
    wants=str | bytes,
    solution="""
with tarfile.open(fileobj=io.BytesIO(gzip.decompress(blob(manifest["layers"][1])))) as layer:
    password = layer.extractfile("password").read().decode()
""",
    because="The second layer is a file that whoever has the image has too. The third only says that it is not to be"
    " seen.",
)
def _password(password: str | bytes) -> Judgement:
    said = (
        password.decode("utf-8", "replace") if isinstance(password, bytes) else password
    ).strip()
    if said == "hunter2":
        return right(
            "There it is, in an image in which `ls /` does not show it. What was once in a layer stays there; only a"
            " mount (lesson 7) leaves nothing behind."
        )
    if said == "hello":
        return wrong("This is the greeting, from the first layer.", nudge="One layer further up.")
    if not said:
        return wrong(
            "This is empty: the whiteout has no content. It only hides.",
            nudge="The file itself is in the layer before the one with `.wh.password`.",
        )
    if "hunter2" in said:
        return wrong(
            "It is in there, with more around it than the file says.",
            nudge="A layer is a tar file. The loop above opens one, and `layer.extractfile('password').read()` reads a"
            " file in it.",
        )
    return wrong(
        "No file of the image says that.",
        nudge="`blob(manifest['layers'][1])` gives you the layer, packed. The loop above shows how to open it, and"
        " `layer.extractfile(name).read()` reads a file.",
    )


@exercise(
    "09.2",
    wants=FunctionType,
    solution="""
def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()
""",
    because="A digest is the name of the algorithm, a colon, and the hash in hexadecimal.",
)
def _digest_of(digest_of: FunctionType) -> Judgement:
    for data in (b"hello", b"", bytes(1000)):
        hashed = hashlib.sha256(data)
        try:
            got = digest_of(data)
        except Exception as error:  # noqa: BLE001 - whatever a reader's function raises is told
            return wrong(
                f"For `{data[:8]!r}` it raises `{type(error).__name__}: {error}`.",
                nudge="It gets bytes: no file, and no text to encode.",
            )
        match got:
            case str() if got == "sha256:" + hashed.hexdigest():
                continue
            case None:
                return wrong("It returns nothing.", nudge="Is there a `return`?")
            case bytes():
                return wrong(
                    "It returns the hash as bytes.", nudge="`.hexdigest()` gives it as text."
                )
            case str() if got == hashed.hexdigest():
                return wrong(
                    "The hash is right, and the name has one part more.",
                    nudge="How does a reader know which algorithm made it? Look at any digest above.",
                )
            case _:
                return wrong(
                    f"For `{data[:8]!r}` it gives `{str(got)[:40]}`.",
                    nudge="The algorithm, a colon, and the hash in hexadecimal.",
                )
    return right(
        "That is all there is to it: the algorithm, a colon, the hash of the bytes. Nobody hands these names out, so"
        " nobody has to be asked."
    )


_PARTS = ("manifest", "config", "first layer", "last layer")


@exercise(
    "09.3",
    wants=set,
    solution="""
renamed = {"config", "manifest"}
""",
    because="The label is in the config. The manifest has the config's digest in it, so it is another one as well. The"
    " layers are files, and no file has changed.",
)
def _renamed(renamed: set[str]) -> Judgement:
    if unknown := sorted(str(each) for each in renamed - set(_PARTS)):
        return wrong(
            f"`{unknown[0]}` is none of the four.",
            nudge=f"They are called {', '.join(map(repr, _PARTS))}.",
        )
    if renamed == {"config", "manifest"}:
        return right(
            "The label is in the config, and the config's digest is in the manifest. The layers are files, and no file"
            " has changed."
        )
    if layers := sorted(each for each in renamed if "layer" in each):
        return wrong(
            f"Not the {layers[0]}: a label is no file.",
            nudge="In which of the documents did you read `lesson`?",
        )
    if "config" not in renamed:
        return wrong(
            "The label is somewhere: which document has it?",
            nudge="Look for `lesson` in what you printed above.",
        )
    return wrong(
        "The config is one of them.",
        nudge="Now its digest is another. Which document has that digest in it?",
    )
