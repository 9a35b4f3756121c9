"""Layers as people write them, with marked places, and the catalogue's mistakes as texts for these.

``templates`` says how places are marked; ``torch_loop`` and ``numpy_loop`` are the layers, each
with what every mutant's id stands for in its places.
"""
