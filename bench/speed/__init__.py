"""How fast layers run, once they have proven right.

A *contender* is an implementation made ready to be timed (``contender``). Contenders of the same
cell meet at the same ``problem``: shape, dtype, numbers. The ``gate`` holds each against the
float64 reference at that very shape; what does not pass gets no time. Those that pass take turns
(``timing.rounds``), in a process of their own (``worker``), beside matrix products of the same
shapes (``ceilings``). ``ladder`` has six ways to compute an LSTM, each one step faster than the
one before. ``plan`` says what is measured, ``analysis`` what may be said of it.
"""
