"""The moving average of the weights: kept beside them, put in their place when it is asked for."""

import numpy as np
import pytest


def test_the_weights_go_on_as_they_were_trained() -> None:
    pytest.importorskip("tensorflow", reason="TensorFlow is not installed (the extra tensorflow)")
    import keras

    from training.fit import AveragedAdamW

    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, use_bias=False)])
    optimizer = AveragedAdamW(0.1, use_ema=True, ema_momentum=0.9)
    model.compile(optimizer, "mse", jit_compile=False)
    rng = np.random.default_rng(0)
    x, y = rng.random((32, 3)), rng.random((32, 2)) + 5
    seen = []

    class Seen(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None) -> None:
            seen.append(self.model.get_weights()[0].copy())

    model.fit(x, y, batch_size=8, epochs=1, verbose=0, callbacks=[Seen()])
    assert np.array_equal(model.get_weights()[0], seen[-1]), "as the last step left them"
    optimizer.average_into(model.trainable_variables)
    average = model.get_weights()[0]
    assert ((seen[0] < average) & (average < seen[-1])).all(), "the weights rise from step to step"
