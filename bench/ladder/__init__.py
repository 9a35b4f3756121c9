"""The ablation ladder: the NumPy LSTM, one optimisation at a time."""
