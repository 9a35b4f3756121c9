"""How far back gradients reach: decay with lag, Jacobian products, Lyapunov exponents.

========================  ======================================================================
``transition``            one step of anything as a map of its whole state, and its pull-back
``problem``               a cell of random weights, its inputs, and where it starts
``trajectory``            states kept every √T steps; what lies between is computed again
``jacobian``              the Jacobian of a step in the *whole* state, (h, c) of an LSTM
``adjoint``               a cotangent carried back over any lag, without under- or overflow
``rates``                 slopes, half-lives, bands and intervals over seeds
``lyapunov``              Lyapunov exponents by QR, with the sum rule that checks them
``products``              all singular values of a product of Jacobians, however far apart
``horizon``               the lag at which float16, float32 and float64 lose the gradient
``clipping``              what clipping does where gradients explode
``closed_forms``          what theory says: half-lives, thresholds, eigenvalues, mean field
``validations``           measured against theory; run with every bench
``costs``                 what the adjoint costs beside a plain step, and what memory it needs
``measurement``           one setting, measured in all of these ways
``rows``, ``plan``        what a run holds, and what is measured by default
========================  ======================================================================
"""
