import threading

from agent.observers import CAPACITY, ObserverQueue
from reticle.testing import events


class Collecting:
    def __init__(self) -> None:
        self.indices: list[int] = []

    def observe(self, event) -> None:
        self.indices.append(event.frame.index)


class Blocked:
    def __init__(self) -> None:
        self.go = threading.Event()

    def observe(self, event) -> None:
        self.go.wait(20)


def test_events_come_in_order_to_all_and_a_failing_observer_is_counted(caplog) -> None:
    class Failing:
        def observe(self, event) -> None:
            raise SystemExit(3)

    one, two = Collecting(), Collecting()
    queue = ObserverQueue([("one", one), ("bad", Failing()), ("two", two)], wants_pixels=False, wait=True)
    for event in events(5):
        queue.send(event)
    queue.close()
    assert one.indices == two.indices == [0, 1, 2, 3, 4]
    assert queue.failed == {"bad": 5}
    assert queue.dropped == 0
    said = [record.getMessage() for record in caplog.records]
    assert [line.startswith("observer bad failed: SystemExit: 3") for line in said] == [True]


def test_live_a_full_queue_drops_and_counts_and_the_sender_goes_on() -> None:
    blocked = Blocked()
    queue = ObserverQueue([("slow", blocked)], wants_pixels=False, wait=False)
    (event,) = events(1)
    for _ in range(CAPACITY + 50):
        queue.send(event)
    assert 49 <= queue.dropped <= 50  # one is with the observer
    blocked.go.set()
    queue.close()


def test_without_observers_nothing_runs() -> None:
    before = threading.active_count()
    queue = ObserverQueue([], wants_pixels=False, wait=False)
    assert not queue.active
    assert threading.active_count() == before
    queue.close()
