"""The suite audit: the mistakes of the catalogue that a user's tests of a layer catch.

While the user's pytest suite runs, the ``forward`` of the tested class computes with a layer of
``mutants``, one mistake per run. First the suite must pass with the correct layer in its place.
Nothing here imports torch before the tests do.

================  ============================================================================
``parameters``    the roles of a class's parameters, by their names or shapes
``substitute``    the class's ``forward``, replaced by a layer of the catalogue
``trial``         additional calls that show whether the class offers what a mistake needs
``plugin``        the part that runs inside the user's pytest
``suite``         runs of the suite in separate processes, and the result of each mutant
================  ============================================================================
"""
