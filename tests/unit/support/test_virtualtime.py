"""The clock that jumps over waiting does not jump over work."""

from __future__ import annotations

import asyncio
import hashlib

from tests.support.virtualtime import run_jumping


def test_an_hour_of_waiting_takes_no_time():
    async def main() -> float:
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        await asyncio.sleep(3600)
        return loop.time() - began_s

    assert 3600 <= run_jumping(main()) < 3700


def test_a_thread_that_works_is_waited_for_however_long_it_takes():
    def work() -> bytes:
        return hashlib.pbkdf2_hmac("sha256", b"a word", b"salt", 500_000)

    async def main() -> bytes:
        async with asyncio.timeout(3600):
            return await asyncio.to_thread(work)

    assert len(run_jumping(main())) == 32
