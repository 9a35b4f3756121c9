"""Long-range tasks: what recurrent layers learn to remember, against how long they have to.

=================  =============================================================================
``tasks``            adding, copy, counting: sequences with one lag that is chosen
``trained_layer``    one layer of PyTorch trained on one task, from one seed
``plan``             tasks x cells x lags x seeds as a bench; the rows that it leaves
=================  =============================================================================

Layers have about as many parameters as each other, not as many units. A success is a row of the
held-out set that is answered right; guessing has its own rate, which is told beside it.
"""
