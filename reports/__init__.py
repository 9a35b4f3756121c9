"""What people read: tables on the terminal, and one HTML page for a run.

====================  ==========================================================================
``terminal``          tables and progress on a terminal
``summary``           what passed, what did not, what was not tested; the headline
``tables``            subjects against checks, subjects against equations
``wording``           numbers, and text from elsewhere, as a page shows them
``typeset``           LaTeX to MathML, tidied for browsers
``page``              the page: ``page.html`` filled in, with ``page.css`` inside
====================  ==========================================================================

A run may come from anybody. Everything it says is text to be escaped: nothing of it is opened,
executed or taken as markup.
"""
