"""What notebooks of scripted builds have in common: their first cell, and how their view is found."""

SETUP = """
import threading, time
import simulate, story
from depotlab.progress import *
from depotlab.widgets import *

def run(make, **options):
    stop, build, base_ns = threading.Event(), Fold(), time.time_ns()
    told = story.Story(make(base_ns), build, base_ns=base_ns, limit=story.limit_file())
    with Ticker(told, NotebookView(on_cancel=stop.set, **options)):
        told.tell(stop=stop)

def typical(outcome=Phase.SUCCEEDED):
    return lambda now: simulate.typical(outcome, base_ns=now)

def many(n_steps, **options):
    return lambda now: simulate.many(n_steps, base_ns=now, **options)

def lanes(now):
    return simulate.two_platforms(base_ns=now)
"""
IN_BACKGROUND = """
import contextvars
job = threading.Thread(target=contextvars.copy_context().run, args=(run, {make}))
job.start()
"""
BAR = ".jp-OutputArea [role=progressbar]"
TOO_WIDE = """() => [...document.querySelectorAll('.jp-OutputArea-output')]
    .some(node => node.scrollWidth > node.clientWidth + 1)"""
