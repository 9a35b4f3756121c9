"""Recordings: what a layer computed on one machine, to be held against the equations on any other.

A recording is a folder. ``recording.json`` says of what, how and where it was made, and lists its
cases; each case has one safetensors file with every call that a check made of the layer: inputs,
parameters, states and cotangents, and the outputs, final states and gradients that came back, in
the layer's own dtype. Nothing in a recording is executed.

``table`` says which cases are recorded, ``record`` records them, ``files`` writes and reads,
``replayed`` is the subject ``recording:DIR``, ``visibility`` tries which mutants recordings show.
"""
