"""How fast: measurements, always as ratios within one run.

``speed_ratio`` measures the reference's fast LSTM against ``torch.nn.LSTM``, interleaved, on one
thread each; ``test_reference_speed`` holds the same two in pytest-benchmark's form.
"""
