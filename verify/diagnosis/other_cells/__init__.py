"""What a layer is that no known mistake explains, by experiments on the layer itself."""
