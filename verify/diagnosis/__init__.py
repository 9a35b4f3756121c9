"""Diagnosis: find the mistake in a wrong layer, and say what to change.

================  ==============================================================================
``observation``   the layer's results in the calls that checks made
``replay``        the same calls repeated with another layer
``hypotheses``    possible mistakes: the catalogue, orders of gates, arrays that are not read
``search``        the hypotheses that compute the same numbers as the layer
``conventions``   the convention by which it computes, and its differences from the stated one
``location``      the results, options and sizes in which it is wrong
``causes/``       causes that need no search: exceptions, randomness, writes to arguments
``misplaced/``    right numbers in the wrong place, and parameters of another pass
``formulas/``     single edits of the cell's step and of its backward pass
``gradients/``    truncated gradients, detached states, sums over calls, forward mode
``arithmetic/``   a coarser dtype, weights on a grid, fixed point
``other_cells/``  layer norm, zoneout and the like, measured; properties of unknown cells
``dropout``       the diagnosis of dropout beside other mistakes
``deadline``      the time limit
``discovery``     the result of one examination of a layer
``examination``   the complete diagnosis: all of these in order
================  ==============================================================================
"""
