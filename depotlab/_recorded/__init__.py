"""Recordings of builds: made by listening to the calls of a client, and played by a daemon that is none."""

from depotlab._recorded.channel import PlayedChannel
from depotlab._recorded.clock import CLOCK, Clock, PlayedFold
from depotlab._recorded.fileformat import load_tape, save_tape
from depotlab._recorded.player import Player
from depotlab._recorded.recorder import Recorder
from depotlab._recorded.tape import Tape

__all__ = [
    "CLOCK",
    "Clock",
    "PlayedChannel",
    "PlayedFold",
    "Player",
    "Recorder",
    "Tape",
    "load_tape",
    "save_tape",
]
