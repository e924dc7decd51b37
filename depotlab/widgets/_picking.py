"""What the page itself does when a step is picked: the handlers that rows, bars and boxes carry.

A handler hands the press on to the list of logs, which is a native control and works without it. Nothing of a build is
in here: what is picked is found by its number, which stands before each option of the list.
"""

from __future__ import annotations

from html import escape

__all__ = ["FILES_OF", "VIEW_CLASS", "pick_handlers"]

VIEW_CLASS = "depotlab-view"
"""Of the element that holds a whole live view; the handler looks for its list there."""

FILES_OF = "Files of "
"""Before the number of a step in an option that asks for its files and not for its log."""

# On the press and not on the click: a frame that is drawn between press and release would swallow a click.
_PICK = (
    "const e=event;if(e.button||e.key&&e.key!=='Enter'&&e.key!==' ')return;"
    "const r=e.target.closest('[data-n]'),v=this.closest('.depotlab-view'),"
    "s=v&&v.querySelector('select');if(r&&s){if(e.key)e.preventDefault();"
    "const w=(r.dataset.w||'')+'#'+r.dataset.n+' ',i=[...s.options].findIndex("
    "o=>o.value.startsWith(w));if(i>=0){s.selectedIndex=i;"
    "s.dispatchEvent(new Event('change',{bubbles:true}))}}"
)


# A frame replaces what has the focus; whoever goes through the boxes by keys must find himself where he was. The
# element above stays, and sees the new ones come.
_STAY = (
    "const v=this.parentNode;v.dlAt=event.target.dataset.n;"
    "if(v.dlAt&&!v.dlEye){v.dlEye=new MutationObserver(()=>{const a=document.activeElement,"
    "g=v.dlAt&&(!a||a===document.body)&&v.querySelector('g[data-n=\"'+v.dlAt+'\"]');"
    "if(g)g.focus({preventScroll:true})});v.dlEye.observe(v,{childList:true})}"
)
_LEAVE = "if(event.target.isConnected&&event.relatedTarget)this.parentNode.dlAt=''"


def pick_handlers(*, by_keys: bool = False) -> str:
    """Return the attributes of an element in which what has `data-n` can be picked.

    Args:
        by_keys: Also with Enter and the space bar, which front ends then leave to it.
    """
    if not by_keys:
        return f' onmousedown="{escape(_PICK)}"'
    return (
        f' data-lm-suppress-shortcuts="true" onmousedown="{escape(_PICK)}" '
        f'onkeydown="{escape(_PICK)}" onfocusin="{escape(_STAY)}" onfocusout="{escape(_LEAVE)}"'
    )
