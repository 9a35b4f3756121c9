"""Number systems on which the reference's equations run as they are written.

``bounded`` carries a bound on rounding, ``dual`` a derivative, ``enclosure`` exact balls,
``complex_step`` derivatives without subtraction, ``tape`` what was computed. ``arithmetic`` says
how a dtype rounds.
"""
