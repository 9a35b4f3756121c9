"""How fast, and how well: measurements.

How times are taken and compared is in ``timing``; ``speed_ratio`` measures the reference's fast
LSTM against ``torch.nn.LSTM``, on one thread each; ``test_speed`` hands the same two, and the
ladder's rungs, to pytest-benchmark. ``gradcheck_cost`` says what autograd's own check costs and
misses, ``diagnosis_score`` how often a diagnosis names the mistake.
"""
