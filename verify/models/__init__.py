"""Recurrent nodes of model files, each checked as a subject with its own weights.

``graph`` reads untrusted files of ONNX, ``nodes`` describes their recurrent nodes, ``steps``
recognises steps that an exporter has unrolled; ``tflite`` does the same for files of TensorFlow
Lite, and ``inventory`` lists the nodes of either. ``runtimes`` run a node that is cut out,
``built`` calls it, ``subject`` makes a subject of it. ``operation`` and ``equations`` are the
function of a node for which the reference has no cell, ``variants`` those of runtimes that ignore
some attributes. ``activations`` reads a node's inputs and outputs in the running graph, for the
inputs of ``sample``; ``sources`` and ``departures`` compare a node with the layer that it was
exported from.
"""
