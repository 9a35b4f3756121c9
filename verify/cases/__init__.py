"""Cases, the inputs of layers: sizes, options, seed; their strategies and simplification."""
