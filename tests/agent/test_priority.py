import os
import sys
from pathlib import Path

import pytest

from agent.priority import share
from agent.profile import LoopSettings
from core.errors import UserError

PROFILE = Path("p.yaml")


def test_processors_and_priority_are_the_profiles_for_the_run_alone() -> None:
    if not hasattr(os, "sched_getaffinity"):
        pytest.skip("this system does not say which processors are used")
    before = os.sched_getaffinity(0)
    one = min(before)
    with share(LoopSettings(cpus=(one,)), PROFILE):
        assert os.sched_getaffinity(0) == {one}
    assert os.sched_getaffinity(0) == before


def test_processors_that_are_not_there_are_one_sentence() -> None:
    if sys.platform == "darwin":
        says = "does not let a process choose"
    else:
        says = r"p\.yaml: loop\.cpus is \[9999\]; here there are 0 to"
    with pytest.raises(UserError, match=says), share(LoopSettings(cpus=(9999,)), PROFILE):
        pass
