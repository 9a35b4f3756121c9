"""From a wrong layer to a sentence: what exactly is wrong with it, and what to change.

================  ==============================================================================
``observation``   what the layer did in the calls that checks made of it
``replay``        the same calls, made again of another layer
``hypotheses``    ways to be wrong: the catalogue, orders, arrays that are not read
``search``        which hypotheses compute exactly what the layer computes
``conventions``   by which convention it computes, told by where it differs
``location``      where it is wrong: in which results, with which options, from which size on
``causes/``       what needs no search: it raises, is not the same twice, or writes to arguments
``misplaced/``    right numbers in the wrong place, and parameters of another pass
``formulas/``     single edits of the cell's own step and way back
``gradients/``    how far back they reach; detached states; sums over calls; forward mode
``arithmetic/``   a coarser dtype, weights on a grid, fixed point
``other_cells/``  layer norm, zoneout and the like, measured; facts about what nobody knows
``dropout``       dropout, judged apart
``deadline``      the time that there is
``discovery``     what one examination of a layer found out
``examination``   all of it, in its order
================  ==============================================================================
"""
