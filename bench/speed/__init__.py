"""The speed of layers whose results have been checked first.

A *contender* is an implementation prepared for timing (``contender``). Contenders of the same cell
get the same ``problem``: shape, dtype, numbers. The ``gate`` compares each with the float64
reference at that very shape; one that does not pass is not timed. Those that pass take turns
(``timing.rounds``), in a process of their own (``worker``), beside matrix products of the same
shapes (``ceilings``). ``ladder`` has six ways to compute an LSTM, each one step faster than the one
before. ``plan`` lists the measurements, ``analysis`` draws conclusions from them.
"""
