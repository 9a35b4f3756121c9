"""Layers that are right in another arithmetic than the one that they claim."""
