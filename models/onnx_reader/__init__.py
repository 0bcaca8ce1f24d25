"""ONNX files as differentiable torch modules; `cloakbench.models.onnx_reader.load.load_onnx` is the way in."""
