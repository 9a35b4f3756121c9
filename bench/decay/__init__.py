"""How far back gradients reach: decay with lag, Jacobian products, Lyapunov exponents.

========================  ======================================================================
``trajectory``            one step of anything as a map of its *whole* state, (h, c) of an LSTM: its
                          pull-back and its Jacobian; states kept every √T steps
``problem``               a cell of random weights, its inputs, and where it starts
``adjoint``               a cotangent carried back over any lag, without under- or overflow; the lag
                          at which float16, float32 and float64 lose it
``rates``                 slopes, half-lives, bands and intervals over seeds
``spectra``               Lyapunov exponents by QR, with the sum rule that checks them; all singular
                          values of a product of Jacobians, however far apart
``gradient_clipping``     what clipping does where gradients explode
``closed_forms``          what theory says: half-lives, thresholds, eigenvalues, mean field
``validations``           measured against theory; run with every bench
``measurement``           one setting, measured in all of these ways, and what the adjoint costs
``rows``, ``plan``        what a run holds, and what is measured by default
========================  ======================================================================
"""
