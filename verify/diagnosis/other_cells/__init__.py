"""Experiments on layers that no known mistake explains, to find another cell or its properties."""
