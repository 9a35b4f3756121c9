"""What cuts gradients: how far they reach, and states that are detached."""
