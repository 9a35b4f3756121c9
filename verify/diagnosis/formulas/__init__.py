"""Which single edit of a cell's own program computes what a layer computes?

==================  ============================================================================
``texts``           the program of each cell, forward and back, as lines of Python
``program``         its statements: parsed, compiled, run on plain or traced arrays
``activations``     other activations, and functions of the rows
``expression``      every single edit of one expression
``edits``           every single edit of a program's statements
``groups``          edits of several statements at once, and of the loop
``phrases``         formulas and names as users read them
``measurement``     what a layer computes in small runs, by the program's names
``replacement``     an edited program in the place of a layer's own
``relations``       the edits that compute what was measured, alone and two together
``pairs``           two edits of a step, and one under another order of the gates
``departure``       which gate or path departs first, also where no edit explains it
==================  ============================================================================
"""
