"""The ground truth: every equation of the five documents, with its gradient, in NumPy alone.

The files, from the ground up:

========================  ======================================================================
``arrays``                the array types, and the shapes that signatures name
``errors``                ``InputError``, which names the bad argument in one sentence
``equation``              the record of an equation (id, LaTeX, documents), and the registry
``functions``             sigmoid, tanh and the few functions that number systems must agree on
``parameters``            weights with an explicit gate axis: ``p.W_f`` is the forget gate's ``W``
``cell``                  the base class of cells: one step and its VJP
``linear``                the common form of recurrences that are linear in their state
``forms``                 the programs that compute these: steps, chunks, scans
``gated_by_input``        the base class of cells whose gates are inputs
``cells/``                one file per cell: its equations, its step, its step VJP
``sequence``              a cell over time, and backpropagation through time, with lengths
``layer``                 stacked and bidirectional layers
``bptt``                  the documents' explicit chain rules: Jacobians, sums over paths
``output``                softmax, output layer, cross-entropy
``tokens``                one-hot rows and embedding
``gradient_clipping``     gradients clipped by value and by global norm
``topologies``            one-to-one ... many-to-many, encoder-decoder
``attention``             additive attention over encoder states
``documents``             the worked numbers and listings, and their errata
``fast``                  the LSTM again, arranged for speed; proven equal to the plain cell
========================  ======================================================================

Row vectors throughout: a step reads ``x @ W + h @ U + b`` with ``x`` of shape ``(B, D)`` and
``h`` of shape ``(B, H)``. A sequence has the time axis first: ``(T, B, D)``.
"""
