"""Verification: checks of the reference, and of any layer, against the equations.

==================  ============================================================================
``numbers/``        number systems: float32, TF32, ..., Bounded, Dual, balls, complex steps
``runs/``           run files: header, verdicts, diagnoses, deviations; statuses
``cases/``          inputs of a layer: sizes, options, seed; their strategies and simplification
``conventions/``    meanings of a layer's parameters, and the maps between them
``subjects/``       layers under test: torch's, adapters of frameworks, user code
``checks/``         properties that every subject must have, and the oracle that bounds errors
``mutants/``        wrong layers that test the checks: the catalogue of mistakes
``proofs/``         properties that the reference itself must have
``identification/`` finds the convention by which a layer computes
``diagnosis/``      explains a failure in a sentence that says what to change
``recordings/``     calls and results of a layer that were recorded on another machine
``models/``         model files: their recurrent nodes, compared with the layer exported
``execution/``      runs the checks: session, judge, workers, isolation
``audit/``          runs other people's tests on the catalogue of mistakes
``api``             ``gatewise.check`` and ``gatewise.convert``; ``pytest_plugin`` is for pytest
==================  ============================================================================

Each room imports only from the rooms above it; import-linter checks this.
"""
