"""ONNX graphs of known architectures, built from named tensors without torch."""
