"""Identification of the convention by which a layer computes, from its results alone."""
