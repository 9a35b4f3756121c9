"""LiteRT: a BIDIRECTIONAL_SEQUENCE_LSTM of several rows is wrong with merge_outputs, rows first.

With time_major = false its kernel steps from one row's state to the next by the width of the
output, which is twice that of the state where both directions are merged: row 1 takes the state of
row 2, and row 2 what lies behind all of them, which is written to as well. Seen with
ai-edge-litert 2.3.0; similar: tensorflow/tensorflow#51561.
"""

import ai_edge_litert
import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as tfl
from ai_edge_litert.interpreter import Interpreter

B, T, D, H = 3, 4, 2, 4
WEIGHTS = [(H, D)] * 4 + [(H, H)] * 4 + [None] * 3 + [(H,)] * 4 + [None] * 2
NAME = "BIDIRECTIONAL_SEQUENCE_LSTM"


def model(merged):
    rng, tensors, buffers = np.random.default_rng(0), [], [tfl.BufferT()]

    def tensor(shape, *, stored=False, variable=False):
        if shape is None:
            return -1
        if stored:
            drawn = rng.standard_normal(shape).astype(np.float32)
            buffers.append(tfl.BufferT(data=np.frombuffer(drawn.tobytes(), np.uint8)))
        buffer = len(buffers) - 1 if stored else 0
        name = f"tensor {len(tensors)}"
        tensors.append(tfl.TensorT(list(shape), name=name, buffer=buffer, isVariable=variable))
        return len(tensors) - 1

    x = tensor((B, T, D))
    inputs = [x, *(tensor(shape, stored=True) for shape in WEIGHTS * 2)]
    inputs += [*(tensor((B, H), variable=True) for _ in range(4)), *[-1] * 9]
    outputs = [tensor((B, T, 2 * H))] if merged else [tensor((B, T, H)), tensor((B, T, H))]
    options = tfl.BidirectionalSequenceLSTMOptionsT(timeMajor=False, mergeOutputs=merged)
    options.fusedActivationFunction = tfl.ActivationFunctionType.TANH
    operator = tfl.OperatorT(inputs=inputs, outputs=outputs, builtinOptions=options)
    operator.builtinOptionsType = tfl.BuiltinOptions.BidirectionalSequenceLSTMOptions
    graph = tfl.SubGraphT(tensors=tensors, operators=[operator], inputs=[x], outputs=outputs)
    number = getattr(tfl.BuiltinOperator, NAME)
    code = tfl.OperatorCodeT(builtinCode=number, deprecatedBuiltinCode=number, version=1)
    whole = tfl.ModelT(version=3, operatorCodes=[code], subgraphs=[graph], buffers=buffers)
    builder = flatbuffers.Builder(1024)
    builder.Finish(whole.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def run(merged, x):
    interpreter = Interpreter(model_content=model(merged))
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x)
    interpreter.invoke()
    outputs = interpreter.get_output_details()
    return np.concatenate([interpreter.get_tensor(each["index"]) for each in outputs], axis=-1)


print("ai-edge-litert", ai_edge_litert.__version__)
x = np.random.default_rng(1).standard_normal((B, T, D)).astype(np.float32)
apart, merged = run(False, x), run(True, x)
for row in range(B):
    off = np.abs(merged[row] - apart[row]).max()
    print(f"row {row}: merged and apart, which should be the same, differ by {off:.3g}")
