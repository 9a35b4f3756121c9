// Wide tables scroll; with the keyboard, too.
document$.subscribe(() => {
  for (const scrolled of document.querySelectorAll(".md-typeset__scrollwrap")) scrolled.tabIndex = 0;
});
