"""What people read: tables on the terminal, and one HTML page for runs.

====================  ==========================================================================
``terminal``          tables and progress on a terminal
``summary``           what passed, what did not, what was not tested; the headline
``tables``            subjects against checks, subjects against equations
``wording``           numbers, and text from elsewhere, as a page shows them
``typeset``           LaTeX to MathML, tidied for browsers
``together``          several runs in one report
``conventions``       how subjects mean their parameters
``section``           what a bench has to tell: text, figures, tables
``sections``          one file for each kind of bench
``figures``           charts in one theme, drawn without a browser
``benches``           those sections as the page shows them
``markdown``          runs for a job's summary or a comment
``junit``, ``badge``  what CI systems and README files show
``comparing``         what changed from one run to another
``formats``           which of these a file's name asks for
``page``              the page: ``templates`` filled in
====================  ==========================================================================

A run may come from anybody. Everything it says is text to be escaped: nothing of it is opened,
executed or taken as markup.
"""
