"""Gradient decay: norms against lag, products of Jacobians, Lyapunov exponents.

========================  ======================================================================
``trajectory``            one step of a cell as a map of its *whole* state, (h, c) of an LSTM: its
                          pull-back and its Jacobian; states kept every √T steps
``problem``               a cell of random weights, its inputs, and its first state
``adjoint``               a cotangent pulled back over any lag, without under- or overflow; the lag
                          at which float16, float32 and float64 lose it
``rates``                 slopes, half-lives, bands and intervals over seeds
``spectra``               Lyapunov exponents by QR, with the sum rule that checks them; all singular
                          values of a product of Jacobians, however far apart
``gradient_clipping``     the effect of clipping on exploding gradients
``closed_forms``          theory: half-lives, thresholds, eigenvalues, mean field
``validations``           measurements compared with theory, in every bench
``measurement``           all measurements of one setting, and the cost of the adjoint
``rows``, ``plan``        the rows of a run, and the measurements by default
========================  ======================================================================
"""
