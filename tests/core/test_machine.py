from core.machine import gpus, hardware, processor


def test_the_machine_has_a_processor_and_the_same_one_each_time() -> None:
    assert processor()
    assert "\n" not in processor()
    assert hardware() == [processor(), *gpus()]
