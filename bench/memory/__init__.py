"""Long-range tasks: the success of recurrent layers against lag.

=================  =============================================================================
``tasks``            adding, copy, counting: sequences with a chosen lag
``trained_layer``    one layer of PyTorch trained on one task, from one seed
``plan``             tasks x cells x lags x seeds as a bench, and its rows
=================  =============================================================================

Layers have about equally many parameters, not units. A success is a right answer to a row of the
held-out set; reports also have the rate of guessing.
"""
