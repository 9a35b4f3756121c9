"""How we know: what holds the reference, and any layer, to the equations.

==================  ============================================================================
``numbers/``        number systems: float32, TF32, ..., Bounded, Dual, balls, complex steps
``runs/``           what is on disk: header, verdicts, diagnoses, deviations; statuses
``cases/``          one input: sizes, options, seed; how it is drawn, and made simpler
``conventions/``    what a layer's parameters mean, and the maps from one meaning to another
``subjects/``       what can be held: torch's layers, adapters of frameworks, anybody's code
``checks/``         what must hold of any subject, and the oracle that says by how much
``mutants/``        wrong layers, to try the checks: the one catalogue of mistakes
``proofs/``         what must hold of the reference itself
``identification/`` by which convention a layer computes
``diagnosis/``      from a failure to a sentence that says what to change
``recordings/``     what a layer computed on another machine
``models/``         model files: their recurrent nodes, and how those depart from their source
``execution/``      who runs what, where: session, judge, workers, isolation
``audit/``          the catalogue of mistakes in front of somebody else's tests
``api``             ``gatewise.check`` and ``gatewise.convert``; ``pytest_plugin`` is in pytest
==================  ============================================================================

Each imports from those above it alone; the lint session holds them to that.
"""
