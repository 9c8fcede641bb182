"""Rounding by the error at the output."""

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conversion.convert import Int8, Material
from conversion.output_error import errors, executor, relative
from conversion.quantization import ALL_CODES, PAIRED_CODES, Codes, QuantizedWeights, quantized_weights
from conversion.rounding import passing_on, round_weights, rounded
from core.geometry import STRETCH
from engine.onnx_int8 import narrow_weights
from tests.networks import small


def moments(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Inputs that go together, and the sums of their products."""
    mixed = rng.normal(size=(400, count)) @ rng.normal(size=(count, count)) + rng.normal(size=count)
    inputs = np.hstack((mixed, np.ones((400, 1)))).astype(np.float32)
    return inputs, inputs.T @ inputs / 400


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 1000),
    channels=st.integers(1, 6),
    allowed=st.sampled_from([ALL_CODES, PAIRED_CODES, Codes(7, 14), Codes(7, 9)]),
)
def test_the_outputs_error_is_less_than_with_weights_rounded_one_by_one(
    seed: int, channels: int, allowed: Codes
) -> None:
    rng = np.random.default_rng(seed)
    kernel = rng.normal(size=(5, channels, 3, 3)).astype(np.float32)
    bias = rng.normal(size=5).astype(np.float32)
    inputs, products = moments(rng, channels * 9)
    made = round_weights(kernel, bias, products, passing_on(products), allowed)
    plain = quantized_weights(kernel, allowed)
    for codes in (made.codes, plain.codes):
        assert np.abs(codes.astype(int)).max() <= allowed.largest
        assert largest_pair(codes) <= allowed.pair

    def error(codes: np.ndarray, scales: np.ndarray, given: np.ndarray) -> float:
        rows = np.hstack((codes.reshape(5, -1) * scales[:, None], given[:, None]))
        wanted = np.hstack((kernel.reshape(5, -1), bias[:, None]))
        return float(((inputs @ (rows - wanted).T) ** 2).sum())

    assert error(made.codes, made.scales, made.bias) <= 1.0001 * error(plain.codes, plain.scales, bias)


def largest_pair(codes: np.ndarray) -> int:
    """The most that two weights have together whose products may be added first."""
    sizes = np.abs(codes.astype(int))
    return int((sizes[:, ::2] + sizes[:, 1::2]).max() if sizes.shape[1] % 2 == 0 else 2 * sizes.max())


def test_pairs_are_cut_where_they_must_be_and_cost_little() -> None:
    rng = np.random.default_rng(0)
    kernel = rng.normal(size=(32, 16, 3, 3)).astype(np.float32)

    def off(made: QuantizedWeights) -> float:
        return float(((made.codes * made.scales[:, None, None, None] - kernel) ** 2).mean())

    whole, paired, halved = (quantized_weights(kernel, codes) for codes in (ALL_CODES, PAIRED_CODES, Codes(63, 126)))
    assert largest_pair(whole.codes) > 128
    assert off(whole) <= off(paired) < 0.6 * off(halved)


def error(material: Material, model: onnx.ModelProto, scheme: str = "symmetric") -> float:
    network, _ = small()
    reference = executor(material.model, "asymmetric")
    return relative(errors(reference, executor(model, scheme), network, material.pictures, STRETCH))


@pytest.mark.slow
def test_a_network_that_is_rounded_so_is_nearer_to_the_float_one(material: Material) -> None:
    plain, better = (Int8(rounding=rounding, heads=False) for rounding in (False, True))
    for codes in (ALL_CODES, PAIRED_CODES):
        assert error(material, material.quantized("symmetric", better, codes)) < error(
            material, material.quantized("symmetric", plain, codes)
        )
    heads = material.quantized("symmetric", Int8())
    assert error(material, heads) < error(material, material.quantized("symmetric", better))


def test_the_same_pictures_give_the_same_codes(material: Material) -> None:
    once, again = (rounded(material.model, material.pictures, STRETCH, [ALL_CODES])[ALL_CODES] for _ in range(2))
    assert once.keys() == again.keys()
    assert all((once[name].codes == again[name].codes).all() for name in once)


def test_the_graph_for_cpus_needs_no_narrower_weights(material: Material) -> None:
    made = material.quantized("asymmetric", Int8())
    assert narrow_weights(made).SerializeToString() == made.SerializeToString()
    wide = material.quantized("asymmetric", Int8(), ALL_CODES)
    assert narrow_weights(wide).SerializeToString() != wide.SerializeToString()
