"""torch.onnx.export (default exporter): the traced number of steps stands in the exported file.

nn.LSTM and nn.GRU with a dynamic axis of steps: the export says nothing, the file's input has
symbolic axes, but the outputs are reshaped to the traced number. Another number raises, or, where
the sizes happen to divide, gives outputs of a wrong shape in wrong places. With dynamo=False it is
right. Seen with torch 2.13.0, onnxruntime 1.31.1; similar: pytorch/pytorch#191855 (two directions).
"""

import tempfile
import warnings

import numpy as np
import onnxruntime
import torch

warnings.simplefilter("ignore")
onnxruntime.set_default_logger_severity(4)
torch.manual_seed(0)
DYNAMIC = torch.export.Dim.DYNAMIC
print("torch", torch.__version__, "onnxruntime", onnxruntime.__version__)
for kind in ("LSTM", "GRU"):
    layer, example = getattr(torch.nn, kind)(3, 4), torch.randn(5, 2, 3)
    shapes = ({0: DYNAMIC, 1: DYNAMIC},)
    program = torch.onnx.export(
        layer, (example,), dynamo=True, dynamic_shapes=shapes, verbose=False
    )
    with tempfile.NamedTemporaryFile(suffix=".onnx") as file:
        program.save(file.name)
        session = onnxruntime.InferenceSession(file.name, providers=["CPUExecutionProvider"])
    print(kind, "input", session.get_inputs()[0].shape, "output", session.get_outputs()[0].shape)
    for T, B in ((5, 2), (5, 3), (10, 2), (7, 2)):
        x = torch.randn(T, B, 3)
        want = layer(x)[0].detach().numpy()
        try:
            got = session.run(None, {session.get_inputs()[0].name: x.numpy()})[0]
        except Exception as error:
            print(f"  T = {T}, B = {B}: raises {type(error).__name__}")
            continue
        right = got.shape == want.shape and np.abs(got - want).max() < 1e-6
        told = "right" if right else "WRONG"
        print(f"  T = {T}, B = {B}: {got.shape}, expected {want.shape}: {told}")
