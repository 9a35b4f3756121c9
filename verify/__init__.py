"""How we know: number systems, proofs of the reference, checks of subjects, and their runner.

====================  ==========================================================================
``arithmetic``        float32, TF32, bfloat16, ...: what a rounding is
``bounded``           a number system that carries a rigorous bound of its rounding error
``dual``              a number system that carries a derivative
``enclosure``         balls of arbitrary precision (Arb): the exact value, enclosed
``complex_step``      derivatives exact to rounding, by a step into the complex plane
``case``, ``cases``   one input, as a line of JSON; what Hypothesis draws
``options``           what a subject can be asked for
``subjects/``         adapters: what can be held against the reference
``calling``           a subject, called with care
``oracle``            the reference's answer to a case, with its bound
``check``             what a check is, and the mismatch that fails it
``checks/``           checks of any subject
``proofs/``           checks of the reference itself
``runner``            a check of a subject becomes a verdict; ``shrinking``, ``locating`` and
                      ``script`` make a failure easier to read
``worker``            the process in which subjects run; ``isolation`` starts and ends it
``executing``         many of them, here or on a cluster
``session``           a run: what is planned, asked, kept and gone on with
``mutants/``          wrong layers, to try the checks; ``mutation`` is their kill matrix
``audit/``            the same for somebody else's test suite
``holding``           ``gatewise.check``; ``pytest_plugin`` is the same in pytest
====================  ==========================================================================
"""
