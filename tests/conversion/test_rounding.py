"""Rounding by the error at the output."""

import numpy as np
import onnx
from hypothesis import given, settings
from hypothesis import strategies as st

from conversion.convert import Int8, Material
from conversion.output_error import errors, relative
from conversion.quantization import EIGHT_BITS, SEVEN_BITS, quantized_weights
from conversion.rounding import round_weights, rounded
from conversion.tuning import executor
from core.geometry import STRETCH
from engine.onnx_int8 import narrow_weights, with_weights_of
from tests.networks import small


def moments(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Inputs that go together, and the sums of their products."""
    mixed = rng.normal(size=(400, count)) @ rng.normal(size=(count, count)) + rng.normal(size=count)
    inputs = np.hstack((mixed, np.ones((400, 1)))).astype(np.float32)
    return inputs, inputs.T @ inputs / 400


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), channels=st.integers(1, 6), largest=st.sampled_from([EIGHT_BITS, SEVEN_BITS, 7]))
def test_the_outputs_error_is_less_than_with_weights_rounded_one_by_one(seed: int, channels: int, largest: int) -> None:
    rng = np.random.default_rng(seed)
    kernel = rng.normal(size=(5, channels, 3, 3)).astype(np.float32)
    bias = rng.normal(size=5).astype(np.float32)
    inputs, products = moments(rng, channels * 9)
    made = round_weights(kernel, bias, products, largest)
    assert np.abs(made.codes.astype(int)).max() <= largest
    plain = quantized_weights(kernel, largest)

    def error(codes: np.ndarray, scales: np.ndarray, given: np.ndarray) -> float:
        rows = np.hstack((codes.reshape(5, -1) * scales[:, None], given[:, None]))
        wanted = np.hstack((kernel.reshape(5, -1), bias[:, None]))
        return float(((inputs @ (rows - wanted).T) ** 2).sum())

    assert error(made.codes, made.scales, made.bias) <= 1.0001 * error(plain.codes, plain.scales, bias)


def error(material: Material, model: onnx.ModelProto, scheme: str = "symmetric") -> float:
    network, _ = small()
    reference = executor(material.model, "asymmetric")
    return relative(errors(reference, executor(model, scheme), network, material.pictures, STRETCH))


def test_a_network_that_is_rounded_so_is_nearer_to_the_float_one(material: Material) -> None:
    plain, better = (Int8(rounding=rounding, heads=False) for rounding in (False, True))
    for levels in (EIGHT_BITS, SEVEN_BITS):
        assert error(material, material.quantized("symmetric", better, levels)) < error(
            material, material.quantized("symmetric", plain, levels)
        )
    heads = material.quantized("symmetric", Int8(), SEVEN_BITS)
    assert error(material, heads) < error(material, material.quantized("symmetric", better, SEVEN_BITS))


def test_the_same_pictures_give_the_same_codes(material: Material) -> None:
    once, again = (rounded(material.model, material.pictures, STRETCH, [EIGHT_BITS])[EIGHT_BITS] for _ in range(2))
    assert once.keys() == again.keys()
    assert all((once[name].codes == again[name].codes).all() for name in once)


def test_weights_of_seven_bits_give_way_to_the_eight_of_the_other_graph(material: Material) -> None:
    seven = material.quantized("asymmetric", Int8(), SEVEN_BITS)
    eight = material.quantized("symmetric", Int8(), EIGHT_BITS)
    wide = with_weights_of(seven, eight)
    assert wide.SerializeToString() == material.quantized("asymmetric", Int8(), EIGHT_BITS).SerializeToString()
    assert narrow_weights(seven).SerializeToString() == seven.SerializeToString(), "seven bits are narrow already"
