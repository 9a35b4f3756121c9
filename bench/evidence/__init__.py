"""Published results of other libraries, held to the equations."""
