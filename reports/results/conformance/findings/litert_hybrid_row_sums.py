"""LiteRT: hybrid layers with ``asymmetric_quantize_inputs`` are wrong where input is wide.

The kernel takes the zero point off by the sum of a row of weights, and adds that sum, sixteen
weights at a time, in eight lanes of 16 bits. 130 times 127 + 127 does not fit: from 2080 inputs or
units on, a lane wraps around where the weights of a row have one sign and are near their largest.
Outputs are then off by 0.1 and more; nothing warns. Right is the sum in 32 bits, as the reference
kernel has it (``PortableMatrixBatchVectorMultiplyAccumulate`` of TensorFlow Lite), and NumPy below;
without ``asymmetric_quantize_inputs`` nothing is wrong. Seen with ai-edge-litert 2.3.0 on x86; no
report known.
"""

from importlib.metadata import version

import flatbuffers
import numpy as np
from ai_edge_litert import interpreter as runtime
from ai_edge_litert import schema_py_generated as schema

SCALE = 1e-4


def model(width, asymmetric):
    """Return a UNIDIRECTIONAL_SEQUENCE_RNN of one unit whose weights are all 127 * SCALE."""
    whole, graph, node = schema.ModelT(), schema.SubGraphT(), schema.OperatorT()
    whole.buffers, graph.tensors = [schema.BufferT()], []

    def tensor(shape, kind, data=None, scale=None, variable=False):
        made = schema.TensorT()
        made.shape, made.type, made.isVariable, made.buffer = shape, kind, variable, 0
        if data is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(data.tobytes(), np.uint8)
            whole.buffers.append(buffer)
            made.buffer = len(whole.buffers) - 1
        if scale:
            made.quantization = schema.QuantizationParametersT()
            made.quantization.scale, made.quantization.zeroPoint = [scale], [0]
        graph.tensors.append(made)
        return len(graph.tensors) - 1

    floats, int8 = schema.TensorType.FLOAT32, schema.TensorType.INT8
    node.inputs = [
        tensor([1, 1, width], floats),
        tensor([1, width], int8, np.full((1, width), 127, np.int8), SCALE),
        tensor([1, 1], int8, np.zeros((1, 1), np.int8), SCALE),
        tensor([1], floats, np.zeros(1, np.float32)),
        tensor([1, 1], floats, variable=True),
    ]
    node.outputs, node.opcodeIndex = [tensor([1, 1, 1], floats)], 0
    node.builtinOptionsType = schema.BuiltinOptions.SequenceRNNOptions
    node.builtinOptions = schema.SequenceRNNOptionsT()
    node.builtinOptions.timeMajor = True
    node.builtinOptions.fusedActivationFunction = schema.ActivationFunctionType.TANH
    node.builtinOptions.asymmetricQuantizeInputs = asymmetric
    graph.operators, graph.inputs, graph.outputs = [node], node.inputs[:1], node.outputs
    code = schema.OperatorCodeT()
    code.builtinCode = schema.BuiltinOperator.UNIDIRECTIONAL_SEQUENCE_RNN
    code.deprecatedBuiltinCode = code.builtinCode
    whole.version, whole.operatorCodes, whole.subgraphs = 3, [code], [graph]
    builder = flatbuffers.Builder(1024)
    builder.Finish(whole.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def output(width, asymmetric, x):
    """Return what LiteRT makes of one row of one step."""
    layer = runtime.Interpreter(
        model_content=model(width, asymmetric),
        experimental_op_resolver_type=runtime.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    layer.allocate_tensors()
    layer.set_tensor(layer.get_input_details()[0]["index"], x[None, None])
    layer.invoke()
    return float(layer.get_tensor(layer.get_output_details()[0]["index"])[0, 0, 0])


print("ai-edge-litert", version("ai-edge-litert"))
for width in (2048, 2064, 2080, 4096):
    x = np.where(np.arange(width) % 2, 0.004, 0.002).astype(np.float32)
    right = float(np.tanh(127 * SCALE * np.sum(x, dtype=np.float64)))
    for asymmetric in (False, True):
        y = output(width, asymmetric, x)
        print(f"{width} inputs, asymmetric {asymmetric}: {y:.4f}, right {right:.4f}")
