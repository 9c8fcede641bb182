"""Processes that work for this one: an interrupt is this one's affair, and ends them."""

from __future__ import annotations

import concurrent.futures
import contextlib
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Iterator

MOST = 61
"""The most processes that Windows lets Python wait for at once."""
END_S = 2.0
"""How long workers may take to end of themselves after SIGTERM."""


@contextlib.contextmanager
def shielded() -> Iterator[None]:
    """Start processes that no Ctrl-C in the terminal reaches; one that comes meanwhile takes effect afterwards.

    A blocked signal stays blocked in what is started (POSIX); on Windows the processes ignore it themselves.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def workers(count: int | None) -> Iterator[concurrent.futures.ProcessPoolExecutor]:
    """Yield a pool of new processes, all started; after an exception, an interrupt included, it is ended at once."""
    context = multiprocessing.get_context("spawn")
    count = min(count or os.cpu_count() or 1, MOST)
    pool = concurrent.futures.ProcessPoolExecutor(count, mp_context=context, initializer=_quiet)
    try:
        with shielded():
            for start in [pool.submit(int) for _ in range(count)]:  # each starts one, as none is idle yet
                start.add_done_callback(lambda _: None)
        yield pool
    except BaseException:
        processes = list((getattr(pool, "_processes", None) or {}).values())
        pool.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            process.terminate()
        until = time.monotonic() + END_S
        for process in processes:
            process.join(max(0.0, until - time.monotonic()))
            if process.is_alive():
                process.kill()
        raise
    pool.shutdown()


def _quiet() -> None:
    """Ignore Ctrl-C, where it could not be kept away; on Linux, go with the master, however that ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        import ctypes

        set_parent_death_signal = 1
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)
