"""The suite audit: what do somebody's own tests of a recurrent layer see?

Mutants are planted in their class from outside, one at a time, and their pytest suite is run on
each. Nothing here imports torch before their tests do.

==================  ============================================================================
``catalogue``       what a fault is, and where all of them are found
``call``            one call of a layer, taken apart so that a fault can meddle with it
``anatomy``         which parameter is what, by its name or by its shape
``substitution``    other numbers in the place of parameters, for one call
``layout``          faults of the order and orientation of weights
``convention``      faults of the formula that other weights amount to
``state``           faults of initial and final states
``sequence``        faults of time, direction and lengths
``gradient``        faults of the way back
``mode``            faults of dropout
``dtype``           faults of numbers
``planting``        the class's ``forward``, replaced
``watching``        the moment at which their tests import the class
``probing``         what the class offers, found out by trying
``plugin``          the part that runs inside their pytest
``notes``           what the plugin tells the audit
``running``         their suite in processes of its own, and what became of each mutant
==================  ============================================================================
"""
