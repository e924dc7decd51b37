"""The files of one step as a view of a build shows them: the first ones, and how to see the rest."""

from __future__ import annotations

import html

from depotlab._inside.look import look_at, prepare_look
from depotlab._verbs import AnyBuilder, BuiltStep, list_files_with
from depotlab.buildkit import bytes_text

__all__ = ["step_files"]

_SHOWN_FILES = 40


async def step_files(builder: AnyBuilder, step: BuiltStep) -> str:
    """List what lies in the root directory of a step, as HTML.

    Raises:
        DepotlabError: The step cannot be opened any more.
    """
    look = prepare_look("ls", step, {})
    listing = await look_at(builder, look, lambda opened: opened.files.list("/"))
    names = []
    for info in listing[:_SHOWN_FILES]:
        size = f" {bytes_text(info.size_bytes)}" if info.is_file else ""
        end = "/" if info.is_dir else f" → {info.link_target}" if info.kind == "symlink" else ""
        names.append(html.escape(f"/{info.name}{end}{size}"))
    rest = len(listing) - len(names)
    more = f"\n… {rest} more" if rest > 0 else ""
    return f"<pre>{chr(10).join(names) or 'no files'}{more}</pre>"


list_files_with(step_files)
