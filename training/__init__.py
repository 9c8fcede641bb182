"""Training: samples, augmentation, loss and fit, on Keras 3 and any of its backends."""
