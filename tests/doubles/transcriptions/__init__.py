"""
Each document's equations, literally transcribed in that document's own notation.

One module per document (``d0`` to ``d4``) and one, ``others``, for the cells which
the documents only name.  Every function takes one sequence as nested lists, has no
batch axis, and visits the units one by one (``for j in range(H)``) in mpmath
arithmetic of whatever precision the caller has set.  Letters, concatenation order,
and the side on which a matrix stands are those of the document.

The modules are witnesses: they share no function with the reference and know none
of its conventions, so that an agreement between the two is evidence.
"""
