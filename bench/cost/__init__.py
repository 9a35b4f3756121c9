"""The cost of recurrent layers: operations, bytes, parameters, and words kept for gradients.

All is counted, not measured. ``step`` counts a cell by running its equations on arrays that are
only shapes (``Counted``); ``layer`` adds up steps, layers and directions, and has the products in
closed form from the shapes of parameters as well.
"""
