"""Reports of runs: tables on the terminal, one HTML page, Markdown, JUnit XML and badges.

====================  ==========================================================================
``terminal``          tables and progress on a terminal
``summary``           several runs as one; what passed, what did not; the headline
``tables``            subjects against checks, subjects against equations
``words``             numbers, and text from elsewhere, as a page shows them
``typeset``           LaTeX to MathML, tidied for browsers
``conventions``       the table of subjects' parameter conventions
``section``           the section of a bench as data: text, figures, tables
``sections``          one file for each kind of bench
``figures``           charts in one theme, drawn without a browser, with their data
``markdown``          runs for a job's summary or a comment
``junit``             runs as JUnit XML, for CI systems
``comparison``        the changes from one run to another
``formats``           the form of a file by its suffix; the badge
``field``             the results of all frameworks' layers over time: the site's main page
``page``              the HTML page, made from ``templates``
====================  ==========================================================================

A run may come from anybody. All its content is text to be escaped: nothing of it is opened,
executed or taken as markup.
"""
