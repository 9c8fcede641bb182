"""The interlock: the only way from an action to the mouse, and what keeps buttons from staying down.

The actuation stays in here: no plugin is handed it. Without `--live` one that reaches the desktop is not even created
(see `agent.plan`). Guards veto, a panic disarms for good, and a watchdog releases the buttons of a loop that is silent.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Sequence

from agent.roles import Actuation, CountingGuard, Guard, WatchedActuation
from agent.types import Action, Frame
from core.errors import summary

PANIC = "panic"
WATCHDOG = "watchdog"
HUNG = "the loop hung since this frame was grabbed"


class StopFlag:
    """Why the run shall end; set once, from any thread or signal handler, so without a lock."""

    def __init__(self) -> None:
        self.reason = ""

    def set(self, reason: str) -> None:
        """Ask for the end; only the first reason is kept."""
        self.reason = self.reason or reason or "stopped"

    def __bool__(self) -> bool:
        return bool(self.reason)


class Interlock:
    """Asks the guards, then acts; counts what it did.

    :param actuation: the only reference to it that the run has.
    :param stop: set by a panic.
    :param clock: nanoseconds; the loop's.
    :param limit_ms: an action that comes later than this after the loop's last beat is void; None means any may pass.
    """

    def __init__(
        self,
        actuation: Actuation,
        stop: StopFlag,
        clock: Callable[[], int] = time.perf_counter_ns,
        limit_ms: float | None = None,
    ) -> None:
        self._clock = clock
        self.__actuation = actuation
        self._guards: tuple[tuple[str, Guard], ...] = ()
        self._counting: tuple[CountingGuard, ...] = ()
        self._stop = stop
        self._lock = threading.Lock()
        self._disarmed = False
        self._void_before_ns = 0
        self._limit_ns = None if limit_ms is None else int(limit_ms * 1e6)
        self._lifeline = actuation.lifeline if isinstance(actuation, WatchedActuation) else None
        self._held = 0
        self.beat_ns = clock()
        self.actions = 0
        self.trips = 0
        self.vetoes: dict[str, int] = {}
        self.reasons: dict[tuple[str, str], int] = {}
        self.last_veto: tuple[str, str] | None = None

    def beat(self, now_ns: int) -> None:
        """Take note that the loop goes on."""
        self.beat_ns = now_ns
        if self._lifeline is not None:
            self._lifeline.beat(now_ns)

    def guarded_by(self, guards: Sequence[tuple[str, Guard]]) -> None:
        """Set the guards, as (name, guard), asked in this order; the first veto counts."""
        self._guards = tuple(guards)
        self._counting = tuple(guard for _, guard in guards if isinstance(guard, CountingGuard))
        self.vetoes = {name: 0 for name, _ in guards}

    def submit(self, action: Action, frame: Frame) -> bool:
        """Carry the action out unless something vetoes it; return whether it was carried out.

        An idle action passes nobody and only lets buttons go. A vetoed one lets them go too.

        :raises Exception: whatever the actuation raised, after the buttons were released.
        """
        self.last_veto = None
        if action.idle:
            self.idle()
            return False
        presses = action.buttons & ~self._held
        veto = self._veto(action, presses, frame)
        if veto is None:
            with self._lock:
                # A panic or the watchdog may have come between the guards' word and this line.
                veto = self._barred(frame)
                if veto is None:
                    self._held = action.buttons
                    try:
                        self.__actuation.apply(action)
                    except BaseException:
                        self.__actuation.release()
                        self._held = 0
                        raise
                    self.actions += 1
                    for guard in self._counting:
                        guard.carried_out(action, presses, self._clock())
                    if self._barred(frame) is not None:
                        # A panic or the watchdog came while it acted: their release may have come too early.
                        self.__actuation.release()
                        self._held = 0
                    return True
        self.last_veto = veto
        self.vetoes[veto[0]] = self.vetoes.get(veto[0], 0) + 1
        self.reasons[veto] = self.reasons.get(veto, 0) + 1
        self.idle()
        return False

    def idle(self) -> None:
        """Release the buttons if any is down."""
        if self._held:
            with self._lock:
                self.__actuation.release()
                self._held = 0

    def panic(self, reason: str) -> None:
        """Disarm for the rest of the run, release every button, end the run. Any thread may call it."""
        self._disarmed = True
        self._stop.set(reason)
        self.__actuation.release()  # not under the lock: an actuation that hangs holds it

    def trip(self, now_ns: int) -> bool:
        """Release a loop that hangs: buttons go up, and frames grabbed until now are void.

        :return: whether there was a button to release.
        """
        if not self._held or self._void_before_ns > self.beat_ns:
            return False
        self._void_before_ns = now_ns
        self.trips += 1
        self.__actuation.release()  # not under the lock: an actuation that hangs holds it
        return True

    def disarm(self) -> None:
        """End: nothing passes from here on, and every button is up."""
        self._disarmed = True
        self.__actuation.release()

    def _barred(self, frame: Frame) -> tuple[str, str] | None:
        if self._disarmed:
            return PANIC, "disarmed"
        if frame.grab_ns < self._void_before_ns:
            return WATCHDOG, HUNG
        if self._limit_ns is not None and self._clock() - self.beat_ns > self._limit_ns:
            return WATCHDOG, HUNG
        if self._lifeline is not None and frame.grab_ns < (void_ns := self._lifeline.void_before_ns()):
            return WATCHDOG, HUNG if void_ns <= self._clock() else "the lifeline is gone and is being started again"
        return None

    def _veto(self, action: Action, presses: int, frame: Frame) -> tuple[str, str] | None:
        barred = self._barred(frame)
        if barred is not None:
            return barred
        now_ns = self._clock()
        for name, guard in self._guards:
            try:
                reason = guard.check(action, presses, frame, now_ns)
            except Exception as error:
                reason = f"the guard raised {summary(error)}"
            if reason is not None:
                return name, str(reason) or "the guard gave no reason"
        return None


class Watchdog:
    """A thread that trips the interlock when the loop has not beaten for `limit_ms`."""

    def __init__(self, interlock: Interlock, limit_ms: float) -> None:
        self._interlock = interlock
        self._limit_ns = int(limit_ms * 1e6)
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop watching."""
        self._end.set()
        self._thread.join(2.0)

    def _watch(self) -> None:
        while not self._end.wait(self._limit_ns / 4e9):
            now_ns = time.perf_counter_ns()
            if now_ns - self._interlock.beat_ns > self._limit_ns:
                with contextlib.suppress(Exception):  # go on watching; the loop will meet the same error
                    self._interlock.trip(now_ns)
