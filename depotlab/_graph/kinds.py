"""How kinds of steps and states of steps look: a colour, a shape and a word for each.

Mid-tones that stand out on white and on near-black. No meaning rests on colour alone, since readers with
a colour vision deficiency see some of the hues alike: every kind has an icon, every state a mark and
most an outline of their own, and a legend says the words.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["KINDS", "STATES", "KindLook", "StateLook", "kind_look", "state_look"]


class KindLook(NamedTuple):
    """Attributes: `word` for legends; `color`; `icon`, a stroked path on a square of 14 px."""

    word: str
    color: str
    icon: str


class StateLook(NamedTuple):
    """How a state is drawn.

    Attributes:
        color: Of the outline and the mark.
        mark: A path around (0, 0) within 8 px, on a disc.
        is_solid: The disc is filled and the mark white; else the mark is coloured.
        dash: Of the outline, or empty.
        tint: How much of the colour fills the box, 0 to 1.
        weight: Of the outline in px.
    """

    color: str
    mark: str
    is_solid: bool
    dash: str = ""
    tint: float = 0.1
    weight: float = 1.0


KINDS: dict[str, KindLook] = {
    "image": KindLook(
        "image", "#3579c0", "M7 1.5 12.5 4.5 7 7.5 1.5 4.5zM1.5 7.2l5.5 3 5.5-3M1.5 9.8l5.5 3 5.5-3"
    ),
    "oci": KindLook(
        "OCI layout", "#6478d0", "M7 1.3 12 4v6l-5 2.7L2 10V4zM2 4l5 2.8L12 4M7 6.8v5.9"
    ),
    "local": KindLook("local files", "#b07d10", "M1.5 11.5v-9h4l1.5 2h5.5v7z"),
    "git": KindLook(
        "git",
        "#c05a32",
        "M4 4.2a1.6 1.6 0 1 1 .01 0M4 9.8a1.6 1.6 0 1 1-.01 0M10 5.2a1.6 1.6 0 1 1 .01 0"
        "M4 4.2v5.6M10 5.2c0 3.2-6 1.6-6 4.6",
    ),
    "http": KindLook(
        "download",
        "#1f8f8a",
        "M1.5 7a5.5 5.5 0 1 1 11 0a5.5 5.5 0 1 1-11 0M1.5 7h11M7 1.5c-3.2 3.4-3.2 7.6 0 11"
        "c3.2-3.4 3.2-7.6 0-11",
    ),
    "exec": KindLook("run", "#66788f", "M2 3.5 5.5 7 2 10.5M7 11h5"),
    "file": KindLook("file", "#5f8d33", "M3 1.5h5l3 3v8H3zM8 1.5v3h3"),
    "merge": KindLook(
        "merge",
        "#9067b3",
        "M3 1.5v2c0 3 4 3 4 5.5v3.5M11 1.5v2c0 3-4 3-4 5.5M4.8 10.5 7 12.7l2.2-2.2",
    ),
    "diff": KindLook("diff", "#c05189", "M7 1.5v6M4 4.5h6M4 11.5h6"),
    "build": KindLook(
        "build",
        "#96704a",
        "M5 1.5h4v3H5zM1.5 9.5h4v3h-4zM8.5 9.5h4v3h-4zM7 4.5V7M3.5 9.5V7h7v2.5",
    ),
    "passthrough": KindLook(
        "pass through", "#4f8a8b", "M7 1.5v11M3.5 9 7 12.5 10.5 9M2 5h2M10 5h2"
    ),
    "steps": KindLook("several steps", "#78818e", "M2 3.5h10M2 7h10M2 10.5h6"),
}
"""Kinds by the word that a node carries; `steps` is a box that stands for several kinds."""

_OTHER = KindLook("other", "#78818e", "M2.5 7a4.5 4.5 0 1 1 9 0a4.5 4.5 0 1 1-9 0")

_BLUE, _GREEN, _RED, _TEAL, _GREY, _AMBER = (
    "#1c7ed6",
    "#2f9e44",
    "#e03131",
    "#0c8599",
    "#868e96",
    "#e67700",
)
_CROSS = "M-2.7-2.7 2.7 2.7M-2.7 2.7 2.7-2.7"
_DASH = "M-3 0h6"

# In order of importance: a box that stands for several steps takes the first that one of them has.
STATES: dict[str, StateLook] = {
    "failed": StateLook(_RED, _CROSS, True, tint=0.16, weight=2.0),
    "running": StateLook(_BLUE, "M-1.8-3.2 3 0-1.8 3.2z", True, tint=0.16, weight=2.0),
    "canceled": StateLook(_AMBER, "M-2.7 2.7 2.7-2.7", True, dash="5 3", tint=0.08),
    "waiting": StateLook(_GREY, "M0-3.4V0.4L2.4 1.8", False, dash="3 3", tint=0.04),
    "not reached": StateLook(_GREY, _DASH, False, dash="3 3", tint=0.0),
    "ran": StateLook(_GREEN, "M-3.3.3-1 2.6 3.4-2.4", True, tint=0.12),
    "cached": StateLook(_TEAL, "M-3 0a3 3 0 1 1 6 0a3 3 0 1 1-6 0M-.6 0h1.2", True, tint=0.06),
    "not needed": StateLook(_GREY, _DASH, False, dash="1 3", tint=0.0),
}
"""The states that a step can have, by the words that `progress.StepState` uses."""

_UNKNOWN = StateLook(_GREY, "M-.5 2.6h1M-1.8-1.6C-1.8-4 1.9-4 1.8-1.6C1.8 0 0-.2 0 1", False)


def kind_look(kind: str) -> KindLook:
    """Return how a kind looks; unknown ones are neutral."""
    return KINDS.get(kind, _OTHER)


def state_look(state: str) -> StateLook:
    """Return how a state looks; unknown ones are grey with a question mark."""
    return STATES.get(state, _UNKNOWN)
