"""From a fitted pipeline to an ONNX graph that answers as it does."""
