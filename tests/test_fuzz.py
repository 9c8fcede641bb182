"""The fuzzer's short form: mutated inputs for every reader end in a sentence or are sense."""

import logging

import pytest

pytest.importorskip("resource")  # its limits are POSIX's

from benchmarks.fuzz import fuzz


@pytest.fixture(autouse=True)
def _logging_comes_back():
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.slow
def test_mutated_inputs_are_refused_in_a_sentence_or_are_sense(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RETICLE_CACHE", "")  # which the fuzzer sets
    found = fuzz(seconds=60, cases=1400, seed=1, only=None, out=None)
    assert found["failures"] == {}
    assert found["cases"] == 1400 or found["cases"] > 300
    assert all(set(counts) <= {"accepted", "refused"} for counts in found["readers"].values())
