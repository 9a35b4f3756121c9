"""The ledger: every claim of the five documents, with a verdict computed from measurements.

A claim is one function that measures quantities and states predicates on them, from which the
verdict follows (``ledger.verdict``). Adding a module with ``@claim`` functions adds claims.

======================  ========================================================================
``material``            parameters and states for measurements, gates held open or shut; gradients
                        against lag, measured by ``bench.decay``
``activations``         C04-C06, C22: σ and tanh, and their places
``jacobians``           C02, C03, C07, C13: one step backwards
``gates``               C01, C18, C19, C21: gates at their limits
``vanishing_gradient``  C08, C09, C24: gradients against lag in a plain RNN
``mitigation``          C14, C23: the same with gates; how long an initial state matters
``symptoms``            C10-C12: signs of exploding and vanishing gradients in training
``recall``              C15: a small recall task, success against lag
``identities``          C17, C25-C27: counts and identities
``counter``             C20: counting, which an LSTM can and a GRU cannot
``speed``               C16: the time of a step
``numbers``             N1-N4, P1-P4: the printed numbers and listings
``ledger``              the record of a claim, its evidence and verdict; the registry, as a plan;
                        a row of a run, typed
======================  ========================================================================
"""
