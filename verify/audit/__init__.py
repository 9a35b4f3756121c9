"""The suite audit: which of the catalogue's mistakes do somebody's own tests of a layer see?

While their pytest suite runs, their class's ``forward`` computes with a layer of ``mutants``, one
mistake a run. Before any mistake, their suite has to pass with the right layer in that place.
Nothing here imports torch before their tests do.

================  ============================================================================
``parameters``    which parameter of a class is what, by its name or by its shape
``substitute``    the class's ``forward``, replaced by a layer of the catalogue
``trial``         calls of our own, to find out whether the class offers what shows a mistake
``plugin``        the part that runs inside their pytest
``suite``         their suite in processes of its own, and what became of each mutant
================  ============================================================================
"""
