"""One input of a layer: its sizes, options and seed; how it is drawn, and made simpler."""
