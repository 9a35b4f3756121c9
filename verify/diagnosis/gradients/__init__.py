"""What cuts gradients: how far they reach, detached states; and sums over calls."""
