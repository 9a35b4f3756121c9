"""What people read: tables on the terminal, and one HTML page for runs.

====================  ==========================================================================
``terminal``          tables and progress on a terminal
``summary``           several runs as one; what passed, what did not; the headline
``tables``            subjects against checks, subjects against equations
``words``             numbers, and text from elsewhere, as a page shows them
``typeset``           LaTeX to MathML, tidied for browsers
``conventions``       how subjects mean their parameters
``section``           what a bench has to tell: text, figures, tables
``sections``          one file for each kind of bench
``figures``           charts in one theme, drawn without a browser, with their data
``markdown``          runs for a job's summary or a comment
``junit``             what CI systems show
``comparison``        what changed from one run to another
``formats``           which of these a file's name asks for; the badge
``field``             how layers of all frameworks stand, and stood before: the site's main page
``page``              the page: ``templates`` filled in
====================  ==========================================================================

A run may come from anybody. Everything it says is text to be escaped: nothing of it is opened,
executed or taken as markup.
"""
