"""The ablation ladder: how an LSTM is made fast, one step after the other.

Each rung is a pair of functions, forward and backward, that computes what the cell "lstm" does
(E13-E18) and differs from the rung below in one thing. The order is that of Appleyard, Kocisky &
Blunsom (2016, arXiv:1604.01946), as far as it means anything on a CPU. ``rungs`` lists them; each
is proven right (``proof``), counted (``counting``) and timed beside the others (``measuring``).
"""
