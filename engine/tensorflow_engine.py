"""The engine `tensorflow`: the Keras network as one compiled TensorFlow graph."""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from engine.engine import Model
from engine.errors import ModelError


def make(model: Model) -> TensorFlowEngine:
    """Build the network by Keras and trace it.

    :raises ModelError: Keras runs on another backend in this process.
    """
    if keras.backend.backend() != "tensorflow":
        raise ModelError(
            f"Keras runs on {keras.backend.backend()} here, and the engine tensorflow needs it on TensorFlow: "
            "unset KERAS_BACKEND"
        )
    from engine.network import build

    return TensorFlowEngine(build(model.network, model.weights))


class TensorFlowEngine:
    """Runs a Keras model with batch 1, traced once."""

    layout = "NHWC"

    def __init__(self, model: Any) -> None:
        _, height, width, channels = model.inputs[0].shape
        self.input = np.zeros((1, height, width, channels), np.float32)
        signature = tf.TensorSpec(self.input.shape, tf.float32)

        @tf.function(input_signature=[signature])  # type: ignore[untyped-decorator]
        def call(image: Any) -> Any:
            return model(image, training=False)

        self._call = call.get_concrete_function()
        self._constant = tf.constant

    def infer(self) -> list[NDArray[np.float32]]:
        """Run; see `Engine.infer`."""
        heads = self._call(self._constant(self.input))
        return [head.numpy()[0] for head in heads]
