import threading
import time

import pytest

from agent.interlock import Interlock, StopFlag, Watchdog
from agent.types import IDLE, LEFT, RIGHT, Action, Frame
from tests.agent.fakes import Hand, frame


def interlock(*guards) -> tuple[Interlock, Hand, StopFlag]:
    hand, stop = Hand(), StopFlag()
    lock = Interlock(hand, stop)
    lock.guarded_by(guards)
    return lock, hand, stop


class Saying:
    """A guard that says what it is told to say, and remembers what it was asked."""

    def __init__(self, reason: str | None = None) -> None:
        self.reason = reason
        self.asked: list[tuple[Action, int]] = []

    def check(self, action: Action, presses: int, frame: Frame, now_ns: int) -> str | None:
        self.asked.append((action, presses))
        return self.reason


class Raising:
    def check(self, action: Action, presses: int, frame: Frame, now_ns: int) -> str | None:
        raise RuntimeError("no idea")


def test_an_action_passes_content_guards() -> None:
    lock, hand, _ = interlock(("a", Saying()), ("b", Saying()))
    assert lock.submit(Action(3, 4), frame())
    assert hand.actions == [Action(3, 4)]
    assert (lock.actions, lock.vetoes, lock.last_veto) == (1, {"a": 0, "b": 0}, None)


def test_the_first_veto_counts_and_lets_buttons_go() -> None:
    late, never_asked = Saying(), Saying()
    lock, hand, _ = interlock(("late", late), ("then", never_asked))
    assert lock.submit(Action(buttons=LEFT), frame())
    assert hand.down == LEFT
    late.reason = "too late"
    assert not lock.submit(Action(1, buttons=LEFT), frame())
    assert hand.down == 0
    assert lock.last_veto == ("late", "too late")
    assert lock.vetoes == {"late": 1, "then": 0}
    assert len(never_asked.asked) == 1


def test_guards_are_told_which_buttons_would_be_pressed() -> None:
    guard = Saying()
    lock, _, _ = interlock(("g", guard))
    for buttons in (LEFT, LEFT, LEFT | RIGHT, RIGHT):
        lock.submit(Action(1, buttons=buttons), frame())
    lock.submit(IDLE, frame())
    lock.submit(Action(buttons=RIGHT), frame())
    assert [presses for _, presses in guard.asked] == [LEFT, 0, RIGHT, 0, RIGHT]


def test_a_guard_that_raises_has_vetoed() -> None:
    lock, hand, _ = interlock(("broken", Raising()))
    assert not lock.submit(Action(1), frame())
    assert lock.last_veto is not None
    assert lock.last_veto[1].startswith("the guard raised RuntimeError: no idea (test_interlock.py:")
    assert lock.reasons == {lock.last_veto: 1}
    assert hand.actions == []


def test_idle_lets_go_and_asks_nobody() -> None:
    guard = Saying()
    lock, hand, _ = interlock(("g", guard))
    lock.submit(Action(buttons=LEFT), frame())
    assert not lock.submit(IDLE, frame())
    assert (hand.down, hand.releases, len(guard.asked)) == (0, 1, 1)
    lock.submit(IDLE, frame())
    assert hand.releases == 1


def test_panic_disarms_for_good_releases_and_stops() -> None:
    lock, hand, stop = interlock()
    lock.submit(Action(buttons=LEFT), frame())
    lock.panic("the panic key")
    assert hand.down == 0
    assert stop
    assert stop.reason == "the panic key"
    assert not lock.submit(Action(1), frame())
    assert lock.vetoes["panic"] == 1
    assert len(hand.actions) == 1


def test_a_panic_between_the_guards_and_the_hand_holds_the_action_back() -> None:
    hand, stop = Hand(), StopFlag()
    lock = Interlock(hand, stop)

    class Panicking:
        def check(self, action: Action, presses: int, frame: Frame, now_ns: int) -> str | None:
            lock.panic("now")
            return None

    lock.guarded_by([("p", Panicking())])
    assert not lock.submit(Action(1, buttons=LEFT), frame())
    assert hand.actions == []


def test_an_actuation_that_raises_is_released_first() -> None:
    class Breaking(Hand):
        def apply(self, action: Action) -> None:
            super().apply(action)
            raise OSError("unplugged")

    hand = Breaking()
    lock = Interlock(hand, StopFlag())
    with pytest.raises(OSError, match="unplugged"):
        lock.submit(Action(buttons=LEFT), frame())
    assert hand.down == 0


def test_the_watchdog_releases_a_loop_that_hangs_and_voids_its_frame() -> None:
    lock, hand, _ = interlock()
    old = frame()
    lock.beat_ns = time.perf_counter_ns()
    watchdog = Watchdog(lock, limit_ms=30)
    try:
        assert lock.submit(Action(buttons=LEFT), old)
        assert hand.released.wait(5), "the watchdog did nothing"
        assert hand.down == 0
        assert not lock.submit(Action(buttons=LEFT), old)
        assert lock.vetoes == {"watchdog": 1}
        lock.beat_ns = time.perf_counter_ns()
        assert lock.submit(Action(1), frame())
        assert lock.trips == 1
    finally:
        watchdog.close()


def test_the_watchdog_releases_even_while_apply_hangs() -> None:
    class Hanging(Hand):
        go_on = threading.Event()

        def apply(self, action: Action) -> None:
            super().apply(action)
            self.go_on.wait(10)

    hand = Hanging()
    lock = Interlock(hand, StopFlag())
    thread = threading.Thread(target=lock.submit, args=(Action(buttons=LEFT), frame()))
    watchdog = Watchdog(lock, limit_ms=30)
    thread.start()
    try:
        assert hand.released.wait(5)
    finally:
        hand.go_on.set()
        thread.join()
        watchdog.close()


def test_a_panic_while_the_hand_acts_is_not_undone_by_what_it_still_sends() -> None:
    class Slow(Hand):
        acting, go_on = threading.Event(), threading.Event()

        def apply(self, action: Action) -> None:
            self.acting.set()
            self.go_on.wait(10)
            super().apply(action)

    hand = Slow()
    lock = Interlock(hand, StopFlag())
    thread = threading.Thread(target=lock.submit, args=(Action(buttons=LEFT), frame()))
    thread.start()
    assert hand.acting.wait(5)
    lock.panic("now")
    hand.go_on.set()
    thread.join()
    assert hand.down == 0


def test_a_loop_that_beats_is_left_alone() -> None:
    lock, hand, _ = interlock()
    lock.submit(Action(buttons=LEFT), frame())
    watchdog = Watchdog(lock, limit_ms=2000)
    for _ in range(20):
        lock.beat_ns = time.perf_counter_ns()
        time.sleep(0.005)
    watchdog.close()
    assert (hand.down, lock.trips) == (LEFT, 0)


def test_the_first_reason_to_stop_is_kept() -> None:
    stop = StopFlag()
    assert not stop
    stop.set("one")
    stop.set("two")
    assert stop.reason == "one"


def test_no_public_name_of_the_interlock_leads_to_the_hand() -> None:
    lock, hand, _ = interlock()
    public = [getattr(lock, name) for name in dir(lock) if not name.startswith("_")]
    assert hand not in public
