"""What a recurrent layer must cost: operations, bytes, parameters, what is kept for the gradient.

Nothing here is measured. ``step`` counts a cell by running its own lines on numbers that are only
shapes (``Counted``); ``layer`` adds up steps, layers and directions, and has the products in closed
form from the shapes of parameters as well.
"""
