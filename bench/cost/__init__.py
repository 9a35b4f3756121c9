"""What a recurrent layer must cost: operations, bytes, parameters, what is kept for the gradient.

Nothing here is measured. ``step`` counts a cell by running its own lines on numbers that are only
shapes (``counting``), ``formulas`` says the same in closed form from the shapes of parameters, and
``layer`` adds up steps, layers and directions. ``torch_counters`` reads PyTorch's own counters,
which the tests hold to these.
"""
