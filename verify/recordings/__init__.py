"""Recordings: a layer's results on one machine, to be compared with the equations on another.

A recording is a folder. ``recording.json`` describes its subject, software and machine, and lists
its cases; each case has one safetensors file with all calls that a check made: inputs, parameters,
states and cotangents, and the returned outputs, final states and gradients, in the layer's own
dtype. Nothing in a recording is executed.

``table`` lists the cases to record, ``record`` records them, ``files`` writes and reads,
``replayed`` is the subject ``recording:DIR``, ``visibility`` tests which mutants recordings show.
"""
