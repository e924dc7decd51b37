"""Whether to compress the files of a transfer, decided while it runs. No I/O, no clock of its own.

Files are compressed when they arrive sooner that way. When for a while the link has held the sender up (there was
more to send, and what had been sent was still on its way) at a steady speed, and this machine compresses what it is
just sending at three times that speed and to four fifths or less, then it goes on compressing. From time to time
it sends a little without, and keeps to whichever moved more.

A machine that is busy with something else makes one measurement in a few say the opposite of the truth. So a trial that
was too slow is tried again at once, and after a comparison that compressing has lost it pauses for as long as it lost.

Three times, because compressing competes with everything else for the processors, here and (unpacking) at the
daemon: at a speed near its own it was measured to cost 1.3 to 1.8 times as long. gRPC marks each message as
compressed or not, so that changing one's mind costs nothing.
"""

from __future__ import annotations

import zlib

__all__ = ["Squeeze", "squeeze"]

LEVEL = 1  # higher ones cost more time than they save on any link that is worth it
_GZIP_WBITS = 31  # zlib's number for a gzip header and trailer

# A speed is taken over at least so much: short enough for a small tree, long enough for buffers to fill.
SPAN_S = 0.2
SPAN_BYTES = 1 << 20
# Windows and congestion windows grow at first; a speed that rises by more says nothing of the link yet.
STEADY_FACTOR = 1.25
SPEED_FACTOR = 3.0
# A faster link is not even asked about: no processor compresses at three times that, in bytes a second.
MOST_SPEED = 100e6
WORTH_SHARE = 0.8
GAIN_FACTOR = 1.2
# A trial with less says nothing; being interrupted makes it slower and never faster, so the best of a few counts.
TRIAL_BYTES = 64 << 10
TRIES = 3
# How long to compress before it is compared again, and how much to send before it is tried again; both are
# doubled each time, the first up to a limit, the second until compressing has paid. After compressing has cost time
# the pause is at least so many times as long as what it cost.
ON_S, MOST_ON_S = 0.5, 4.0
PAUSE_BYTES = 8 << 20
PAUSE_FACTOR = 25

# Shorter messages gain nothing.
LEAST_BYTES = 512


def squeeze(message: bytes) -> bytes:
    """Compress a message as gRPC's `gzip` does; an empty result means that it is not worth it."""
    if len(message) < LEAST_BYTES:
        return b""
    squeezed = zlib.compress(message, LEVEL, _GZIP_WBITS)
    return squeezed if len(squeezed) < WORTH_SHARE * len(message) else b""


class Squeeze:
    """The decision for one transfer, fed with what happened to each batch that was sent.

    Attributes:
        is_on: The next batch is to be compressed, as a trial or because it pays.
    """

    def __init__(self) -> None:
        self.is_on = False
        self._on_trial = False
        self._n_tries = 0  # of the trial that goes on
        self._plain_speed = 0.0  # of the last span without compression, in bytes a second
        self._squeezed_speed = 0.0  # of files, while they were compressed; 0 is not known
        self._on_s = ON_S
        self._pause_bytes = PAUSE_BYTES
        self._paused_bytes = 0  # to be sent before the next question
        self._begin_span()

    def sent(
        self,
        plain_bytes: int,
        wire_bytes: int,
        *,
        took_s: float,
        held_up: bool,
        squeezing_s: float,
    ) -> None:
        """Note that a batch was sent.

        Args:
            plain_bytes: Its size.
            wire_bytes: The same, as it was sent.
            took_s: From its making until the next can be made.
            held_up: When it was made, the link still had enough to do.
            squeezing_s: How long it took to compress it.
        """
        if self._on_trial:
            if plain_bytes >= TRIAL_BYTES:
                self._judge_trial(plain_bytes, wire_bytes, squeezing_s)
            return
        self._paused_bytes -= wire_bytes
        self._n_bytes += plain_bytes
        self._took_s += took_s
        self._held_up_s += took_s if held_up else 0.0
        least_s = self._on_s if self.is_on else SPAN_S
        if self._took_s >= least_s and self._n_bytes >= SPAN_BYTES:
            speed = self._n_bytes / self._took_s
            if self.is_on:
                self._squeezed_speed = speed
                self.is_on = False  # for one span, to compare
            else:
                self._judge(speed, held_up=2 * self._held_up_s >= self._took_s)
            self._begin_span()

    def _begin_span(self) -> None:
        self._n_bytes = 0
        self._took_s = self._held_up_s = 0.0

    def _judge(self, speed: float, *, held_up: bool) -> None:
        """Decide after a span without compression."""
        before, self._plain_speed = self._plain_speed, speed
        if self._squeezed_speed:
            squeezed_speed, self._squeezed_speed = self._squeezed_speed, 0.0
            if held_up and squeezed_speed >= GAIN_FACTOR * speed:
                self.is_on = True
                self._on_s = min(2 * self._on_s, MOST_ON_S)
                self._pause_bytes = PAUSE_BYTES
            else:
                lost_bytes = self._on_s * max(speed - squeezed_speed, 0.0)
                self._pause(int(PAUSE_FACTOR * lost_bytes))
        elif (
            held_up and self._paused_bytes <= 0 and speed <= min(STEADY_FACTOR * before, MOST_SPEED)
        ):
            self.is_on = self._on_trial = True
            self._n_tries = 0

    def _judge_trial(self, plain_bytes: int, wire_bytes: int, squeezing_s: float) -> None:
        self._n_tries += 1
        is_fast = plain_bytes >= SPEED_FACTOR * self._plain_speed * squeezing_s
        is_worth_it = wire_bytes <= WORTH_SHARE * plain_bytes
        if is_worth_it and not is_fast and self._n_tries < TRIES:
            return
        self._on_trial = False
        if not (is_fast and is_worth_it):
            self._pause()

    def _pause(self, least_bytes: int = 0) -> None:
        self.is_on = False
        self._on_s = ON_S
        self._paused_bytes = max(self._pause_bytes, least_bytes)
        self._pause_bytes *= 2
