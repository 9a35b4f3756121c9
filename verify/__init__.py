"""How we know: number systems, proofs of the reference, checks of subjects, and their runner.

====================  ==========================================================================
``arithmetic``        float32, TF32, bfloat16, ...: what a rounding is
``bounded``           a number system that carries a rigorous bound of its rounding error
``enclosure``         balls of arbitrary precision (Arb): the exact value, enclosed
``complex_step``      derivatives exact to rounding, by a step into the complex plane
``cases``             what Hypothesis draws
``check``             what a check is, and the mismatch that fails it
``proofs/``           checks of the reference itself
``checks/``           checks of any subject
``subjects/``         adapters: what can be held against the reference
``oracle``            the reference's answer to a case, with its bound
``runner``            checks become verdicts, verdicts become a run
====================  ==========================================================================
"""
