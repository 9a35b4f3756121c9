"""Mistakes of gradients alone: truncation, detached states, sums over calls, forward mode."""
