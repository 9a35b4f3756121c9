"""How fast, and how well: measurements.

``speed_ratio`` measures the reference's fast LSTM against ``torch.nn.LSTM``, interleaved, on one
thread each; ``test_reference_speed`` holds the same two in pytest-benchmark's form.
Times are ratios within one run. ``gradcheck_cost`` says what autograd's own check costs and misses,
``diagnosis_score`` how often a diagnosis names the mistake.
"""
