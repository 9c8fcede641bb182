"""What a YOLO network is and how one runs: Darknet files, the Keras network, boxes, and the engines."""
