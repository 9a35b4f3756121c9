"""Measurements of layers: speed, cost, memory, gradient decay, and the documents' claims.

=============  ==================================================================================
``run``        the plan of a bench, piece by piece, and its folder: each row is on disk as soon as
               it is measured
``timing``     measurement and comparison of times
``cost``       operations, bytes, parameters, words for the gradient: counted, not measured
``speed``      layers forward, backward and in training, each timed once it has proven right;
               the speed of a submission to a benchmark of kernels
``kernels``    submissions to a benchmark of kernels: honest ones, and cheats
``decay``      gradients against lag, validated by closed forms first
``memory``     long-range tasks: the success of layers against lag
``claims``     the documents' claims, with verdicts computed from measurements
=============  ==================================================================================

``evidence`` holds published sums of cuDNN's results to the equations, ``scores/`` measures
gatewise itself, and ``test_speed`` passes the reference's fast LSTM, ``torch.nn.LSTM`` and the
ladder to pytest-benchmark.
"""
