"""Which convolutions go back to float."""

import numpy as np
import pytest

from conversion import sensitivity
from conversion.convert import Int8, Material
from conversion.output_error import errors, executor, relative
from conversion.sensitivity import input_errors, sensitive, shares
from core.geometry import STRETCH
from tests.networks import small


@pytest.mark.slow
def test_what_goes_back_to_float_is_little_of_the_work_and_brings_the_output_nearer(
    material: Material, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, _ = small()
    work = shares(material.model)
    monkeypatch.setattr(sensitivity, "SHARE", 1.0)
    every = sensitive(material, Int8(), network)
    assert every
    assert not set(every) & material.kept(Int8()), "heads are in float as it is"
    largest = max(work[name] for name in every)
    monkeypatch.setattr(sensitivity, "SHARE", largest * 0.99)
    some = sensitive(material, Int8(), network)
    assert sum(work[name] for name in some) < largest
    reference = executor(material.model, "asymmetric")

    def error(keep: tuple[str, ...]) -> float:
        engine = executor(material.quantized("asymmetric", Int8(keep=keep)), "asymmetric")
        return relative(errors(reference, engine, network, material.pictures, STRETCH))

    assert error(every) < error(())


def test_the_shares_of_the_work_are_those_of_the_multiplications(material: Material) -> None:
    work = shares(material.model)
    assert np.isclose(sum(work.values()), 1)
    # The first: 8 filters of 3x3x3 on 48x32 places; the second: 8 of 3x3x8 on as many.
    first, second = (work[name] for name in list(work)[:2])
    assert np.isclose(first / second, 3 / 8)


def test_what_codes_do_to_a_layers_input_is_measured_in_parts_of_it(material: Material) -> None:
    harm = input_errors(material, Int8())
    first, *others = harm.values()
    assert first == 0, "a picture's codes are its pixels"
    assert all(0 < each < 0.05 for each in others)
    assert any(input_errors(material, Int8("percentile"))[name] != harm[name] for name in harm)
