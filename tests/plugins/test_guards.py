import subprocess
import sys
import threading
import time

from hypothesis import given
from hypothesis import strategies as st

from agent.types import LEFT, Action
from plugins.guard import process_argument, rate, staleness
from plugins.guard.polling import Polled
from tests.agent.fakes import context, frame
from tests.desktop import posix

SECOND = 1_000_000_000


def test_staleness() -> None:
    guard = staleness.StalenessGuard(staleness.Settings(max_age_ms=10), context())
    new = frame()
    assert guard.check(Action(1), 0, new, new.grab_ns + 10_000_000) is None
    assert guard.check(Action(1), 0, new, new.grab_ns + 10_000_001) == "the frame is older than 10 ms"


def test_rate_of_counts_and_clicks() -> None:
    guard = rate.RateGuard(rate.Settings(max_counts_per_s=100, max_clicks_per_s=2), context())
    guard.carried_out(Action(60, -10), LEFT, 0)
    assert guard.check(Action(41), 0, frame(), SECOND // 2) == "more than 100 counts a second"
    assert guard.check(Action(-40), LEFT, frame(), SECOND // 2) is None
    assert guard.check(Action(-40), LEFT, frame(), SECOND // 2) is None, "what another guard vetoed does not count"
    guard.carried_out(Action(-40), LEFT, SECOND // 2)
    assert guard.check(Action(), LEFT, frame(), SECOND - 1) == "more than 2 clicks a second"
    assert guard.check(Action(60), LEFT, frame(), SECOND) is None


@given(st.lists(st.tuples(st.integers(0, SECOND // 3), st.integers(-80, 80), st.booleans()), max_size=60))
def test_no_second_ever_holds_more_than_the_limits(steps: list[tuple[int, int, bool]]) -> None:
    guard = rate.RateGuard(rate.Settings(max_counts_per_s=100, max_clicks_per_s=3), context())
    now, passed = 0, []
    for wait, dx, click in steps:
        now += wait
        presses = LEFT if click else 0
        if guard.check(Action(dx), presses, frame(), now) is None:
            guard.carried_out(Action(dx), presses, now)
            passed.append((now, abs(dx), click))
    for end, _, _ in passed:
        window = [(n, c) for t, n, c in passed if end - SECOND < t <= end]
        assert sum(n for n, _ in window) <= 100
        assert sum(c for _, c in window) <= 3


@posix
def test_the_process_must_run_with_the_argument() -> None:
    def asked(process: str, argument: str) -> str | None:
        settings = process_argument.Settings(process=process, argument=argument, interval_s=10)
        guard = process_argument.ProcessArgumentGuard(settings, context())
        try:
            return guard.check(Action(1), 0, frame(), 0)
        finally:
            guard.close()

    assert asked("no-such-game", "-insecure") == "no-such-game is not running"
    code = "import time, sys; open('/proc/self/comm', 'w').write('mygame'); print('up', flush=True); time.sleep(60)"
    game = subprocess.Popen([sys.executable, "-c", code, "-insecure"], stdout=subprocess.PIPE)
    try:
        assert game.stdout.readline() == b"up\n"
        assert asked("mygame", "-insecure") is None
        assert asked("MyGame.exe", "-insecure") is None
        assert asked("mygame", "-secure") == "mygame runs without -secure"
        second = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
        try:
            assert second.stdout.readline() == b"up\n"
            assert asked("mygame", "-insecure") == "mygame runs without -insecure"
        finally:
            second.kill()
            second.communicate()
    finally:
        game.kill()
        game.communicate()


def test_an_answer_that_is_too_old_is_a_veto() -> None:
    go_on = threading.Event()
    asked: list[int] = []

    def ask() -> str | None:
        asked.append(1)
        if len(asked) > 1:
            go_on.wait(10)
        return None

    polled = Polled(ask, 0.01, "test")
    assert polled.answer is None
    deadline = time.monotonic() + 5
    while polled.answer is None and time.monotonic() < deadline:
        time.sleep(0.02)
    assert polled.answer == "cannot tell: there has been no answer for too long"
    go_on.set()
    polled.close()


def test_a_question_is_asked_again_and_a_raise_is_a_veto() -> None:
    answers = iter([None, "no"])

    def ask() -> str | None:
        return next(answers)

    polled = Polled(ask, 0.01, "test")
    assert polled.answer is None
    deadline = time.monotonic() + 5
    while "StopIteration" not in (polled.answer or "") and time.monotonic() < deadline:
        time.sleep(0.005)
    polled.close()
    assert polled.answer == "cannot tell: StopIteration: "
