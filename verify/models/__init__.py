"""Recurrent nodes of model files: a graph is read, and each node held with its own weights.

``graph`` reads a file of ONNX that nobody vouches for, ``nodes`` says what each recurrent node of
it means, ``steps`` recognises steps that an exporter has unrolled; ``tflite`` does so for files of
TensorFlow Lite; ``inventory`` has all of them. ``runtimes`` run one that is cut out, ``built`` is
that, ready to be called, ``subject`` is it as a subject, ``operation`` and ``equations`` what it
computes where no cell of the reference does, ``variants`` what a runtime makes of attributes that
it does not read. ``activations`` are what reaches it in the running graph, of the inputs that
``sample`` reads; ``sources`` and ``departures`` compare it with the layer that it was exported
from.
"""
