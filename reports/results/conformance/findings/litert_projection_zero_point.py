"""LiteRT: an int8 LSTM with a projection takes the zero point of what it projects the wrong way.

o tanh(c) is quantised by the scale s and the zero point z of the fifth intermediate tensor. That
means s (q - z) everywhere in LiteRT, but here the kernel stores v / s - z, saturated to 8 bits, and
adds z again in the projection. Where nothing saturates that is the same; but the range of what can
be stored is mirrored. With s = 1.2 / 255 and z = -85, made for values from -0.2 to 1, all above 0.2
become 0.2. Right is tanh(c) as NumPy has it below, to half a step. Without a projection the sign is
right. Seen with ai-edge-litert 2.3.0; no report known; similar: tensorflow/tensorflow#56493, about
the sign without one.
"""

from importlib.metadata import version

import flatbuffers
import numpy as np
from ai_edge_litert import interpreter as runtime
from ai_edge_litert import schema_py_generated as schema

UNITS, STEP = 4, 2.0**-11
OPEN, SHUT = 20.0, -20.0
"""Biases: o = f = 1 and i = 0, so that h = tanh(c) with the c that it begins in."""


def model(scale, zero):
    """Return an LSTM of one step whose projection is the identity, and its state's index."""
    whole, graph, node = schema.ModelT(), schema.SubGraphT(), schema.OperatorT()
    whole.buffers, graph.tensors = [schema.BufferT()], []

    def tensor(shape, kind, scale, zero=0, data=None, variable=False):
        made = schema.TensorT()
        made.shape, made.isVariable, made.buffer = shape, variable, 0
        made.type = getattr(schema.TensorType, kind)
        made.quantization = schema.QuantizationParametersT()
        made.quantization.scale, made.quantization.zeroPoint = [scale], [zero]
        if data is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(data.tobytes(), np.uint8)
            whole.buffers.append(buffer)
            made.buffer = len(whole.buffers) - 1
        graph.tensors.append(made)
        return len(graph.tensors) - 1

    x = tensor([1, 1, 1], "INT8", 0.03)
    W = [tensor([UNITS, 1], "INT8", 0.01, data=np.zeros((UNITS, 1), np.int8)) for _ in "ifgo"]
    U = [tensor([UNITS] * 2, "INT8", 0.01, data=np.zeros((UNITS,) * 2, np.int8)) for _ in "ifgo"]
    b = [
        tensor([UNITS], "INT32", 3e-4, data=np.full(UNITS, round(v / 3e-4), np.int32))
        for v in (SHUT, OPEN, 0.0, OPEN)
    ]
    identity = (127 * np.eye(UNITS)).astype(np.int8)
    R = tensor([UNITS] * 2, "INT8", 1 / 127, data=identity)
    h = tensor([1, UNITS], "INT8", 1 / 127, variable=True)
    c = tensor([1, UNITS], "INT16", STEP, variable=True)
    y = tensor([1, 1, UNITS], "INT8", 1 / 127)
    node.inputs = [x, *W, *U, -1, -1, -1, *b, R, -1, h, c, -1, -1, -1, -1]
    node.intermediates = [tensor([1], "INT16", 2.0**-12) for _ in "ifgo"]
    node.intermediates.append(tensor([1], "INT8", scale, zero))
    node.outputs, node.opcodeIndex = [y], 0
    node.builtinOptionsType = schema.BuiltinOptions.UnidirectionalSequenceLSTMOptions
    node.builtinOptions = schema.UnidirectionalSequenceLSTMOptionsT()
    node.builtinOptions.timeMajor = True
    node.builtinOptions.fusedActivationFunction = schema.ActivationFunctionType.TANH
    graph.operators, graph.inputs, graph.outputs = [node], [x], [y]
    code = schema.OperatorCodeT()
    code.builtinCode = schema.BuiltinOperator.UNIDIRECTIONAL_SEQUENCE_LSTM
    code.deprecatedBuiltinCode = code.builtinCode
    whole.version, whole.operatorCodes, whole.subgraphs = 3, [code], [graph]
    builder = flatbuffers.Builder(1024)
    builder.Finish(whole.Pack(builder), b"TFL3")
    return bytes(builder.Output()), c


def output(scale, zero, state):
    """Return what the layer makes of a cell state."""
    made, c = model(scale, zero)
    layer = runtime.Interpreter(model_content=made)
    layer.allocate_tensors()
    layer.set_tensor(layer.get_input_details()[0]["index"], np.zeros((1, 1, 1), np.int8))
    layer.set_tensor(c, np.round(state / STEP).astype(np.int16)[None])
    layer.invoke()
    return layer.get_tensor(layer.get_output_details()[0]["index"])[0, 0] / 127


print("ai-edge-litert", version("ai-edge-litert"))
state = np.array([-0.1, 0.15, 0.5, 1.5])
print("right              ", np.round(np.tanh(state), 2))
for scale, zero in ((1 / 127, 0), (1.2 / 255, -85)):
    print(f"scale {scale:.4f}, zero {zero:3}", np.round(output(scale, zero, state), 2))
