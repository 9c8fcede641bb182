"""What a YOLO network is and how one runs: Darknet files, ONNX graphs, boxes, and the runtimes."""
