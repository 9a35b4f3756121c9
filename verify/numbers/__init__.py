"""Number systems on which the reference's equations run unchanged.

``bounded`` carries a bound on rounding, ``dual`` a derivative, ``enclosure`` exact balls,
``complex_step`` derivatives without subtraction, ``tape`` the operations for a backward pass.
``arithmetic`` describes the rounding of a dtype.
"""
