"""Edits of a cell's equations, as a program, that compute the same numbers as a layer.

==================  ============================================================================
``texts``           the program of each cell, forward and backward, as lines of Python
``program``         its statements: parsed, compiled, run on plain or traced arrays
``activations``     other activations, and functions of the rows
``expression``      single edits of one expression
``edits``           single edits of a program's statements
``groups``          edits of several statements at once, and of the loop
``phrases``         formulas and names in words for users
``measurement``     a layer's results in small runs, by the program's names
``replacement``     changes that run an edited program in a layer
``relations``       the edits that compute the measured numbers, alone and two together
``pairs``           two edits of a step, and one with another order of the gates
``departure``       the gates or paths of gradients that deviate first
==================  ============================================================================
"""
