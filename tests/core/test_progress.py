from core.progress import counter


def test_a_counter_tells_the_beginning_and_each_step() -> None:
    told = []
    count = counter(lambda what, done, total: told.append((what, done, total)), "x", 3)
    for _ in range(3):
        count()
    assert told == [("x", 0, 3), ("x", 1, 3), ("x", 2, 3), ("x", 3, 3)]
