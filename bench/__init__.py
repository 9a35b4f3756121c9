"""How fast, how far back, and what is true of what is said: measurements.

=============  ==================================================================================
``run``        what a bench is to measure, piece by piece, and its folder: each row is on disk when
               it is measured
``timing``     how anything is timed, and how two times are compared
``cost``       operations, bytes, parameters, what is kept for the gradient: counted, not measured
``speed``      layers forward, backward and in training, each timed once it has proven right
``kernels``    submissions to a benchmark of kernels: honest ones, cheats, how fast one is
``decay``      how gradients decay or explode with lag, held to closed forms first
``memory``     long-range tasks: what layers learn, against lag
``claims``     what the documents claim, with verdicts computed from measurements
=============  ==================================================================================

``evidence`` holds published sums of cuDNN's results to the equations, ``scores/`` says how good
gatewise itself is, and ``test_speed`` hands the reference's fast LSTM, ``torch.nn.LSTM`` and the
ladder to pytest-benchmark.
"""
