"""What a YOLO network is and how one runs: Darknet files, the Keras network, boxes, and the engines."""

import os

# Keras imports TensorFlow where it is installed, whichever backend it runs on, and that speaks of cards it lacks.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
