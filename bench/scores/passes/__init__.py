"""Right forward and backward passes in NumPy, as people write them: what ``gradients`` mutates.

Each file holds one class ``Layer`` with ``cell``, ``forward`` and ``vjp``. The way back is in the
functions whose name has ``backward`` in it, or in ``vjp`` where there are none; behind each of its
statements stands the place that an edit of it spoils: a gate, a path or an array, or several words
for the same, after ``at:``. Where ``|`` separates them, they are those of the entries of a list.
"""
