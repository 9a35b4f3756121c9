"""Mistakes that a layer makes in some calls, passes or steps alone.

=============  =================================================================================
``scope``      the calls, passes or steps, and a hypothesis that holds in them alone
``sections``   one pass of a deep layer, or its last steps, measured like a small run
``calls``      mistakes under one condition of a call: with lengths alone, without a state, ...
``passes``     mistakes of the layers above the lowest, or of one direction, alone
``steps``      mistakes from some step on, or at every k-th step alone
``mixed``      a mistake of plain calls together with one of what they do not use
=============  =================================================================================
"""
