"""Processes that work for this one: an interrupt is this one's affair, and ends them."""

from __future__ import annotations

import concurrent.futures
import contextlib
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping

from core.files import ROOT

MOST = 61 if sys.platform == "win32" else 512
"""The most processes: of 61 Windows lets Python wait at once."""
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
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set variables for what is started meanwhile, and put them back afterwards."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def module_environment() -> dict[str, str]:
    """Return the environment in which `python -m` finds the rooms, whatever folder it is started in."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))}


@contextlib.contextmanager
def workers(tasks: int, processes: int | None = None) -> Iterator[concurrent.futures.ProcessPoolExecutor]:
    """Yield a pool of new processes, all started; after an exception, an interrupt included, it is ended at once.

    :param processes: how many; as many as there are processors by default, and never more than there are tasks.
    """
    context = multiprocessing.get_context("spawn")
    count = min(tasks, processes or os.cpu_count() or 1, MOST)
    pool = concurrent.futures.ProcessPoolExecutor(count, mp_context=context, initializer=_quiet)
    try:
        with shielded():
            for _ in range(count):
                pool.submit(int)  # each starts one, as none is idle yet
        yield pool
    except BaseException:
        with shielded():  # a second Ctrl-C would leave workers behind, which Python then waits for as it ends
            _end(pool)
        raise
    pool.shutdown()


def _end(pool: concurrent.futures.ProcessPoolExecutor) -> None:
    """End a pool's processes, whatever they do."""
    started = list((getattr(pool, "_processes", None) or {}).values())
    pool.shutdown(wait=False, cancel_futures=True)
    for process in started:
        process.terminate()
    until = time.monotonic() + END_S
    for process in started:
        process.join(max(0.0, until - time.monotonic()))
        if process.is_alive():
            process.kill()


def _quiet() -> None:
    """Ignore Ctrl-C, where it could not be kept away; on Linux, go with the master, however that ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        import ctypes

        set_parent_death_signal = 1
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)
