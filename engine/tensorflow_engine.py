"""The engine `tensorflow`: the Keras network as one compiled TensorFlow graph, or by XLA."""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

from typing import Any, Literal

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from engine.engine import Ends, Model, Precision
from engine.errors import ModelError


def make(model: Model, precision: Precision, ends: Ends, device: str) -> TensorFlowEngine:
    """Build the network by Keras and trace it. It takes no ends: pixels are prepared outside.

    :param device: `xla` compiles the graph by XLA.
    :raises ModelError: Keras runs on another backend in this process.
    """
    if keras.backend.backend() != "tensorflow":
        raise ModelError(
            f"Keras runs on {keras.backend.backend()} here, and the engine tensorflow needs it on TensorFlow: "
            "set KERAS_BACKEND=tensorflow"
        )
    from engine.network import build

    return TensorFlowEngine(build(model.network, model.read()), device == "xla")


class TensorFlowEngine:
    """Runs a Keras model with batch 1, traced once."""

    layout: Literal["NHWC", "NCHW"] = "NHWC"

    def __init__(self, model: Any, xla: bool = False) -> None:
        _, height, width, channels = model.inputs[0].shape
        self.input: NDArray[Any] = np.zeros((1, height, width, channels), np.float32)
        signature = tf.TensorSpec(self.input.shape, tf.float32)

        @tf.function(input_signature=[signature], jit_compile=xla or None)  # type: ignore[untyped-decorator]
        def call(image: Any) -> Any:
            return model(image, training=False)

        self._call = call.get_concrete_function()
        self._constant = tf.constant

    def infer(self) -> list[NDArray[np.float32]]:
        """Run; see `Engine.infer`."""
        heads = self._call(self._constant(self.input))
        return [head.numpy()[0] for head in heads]
