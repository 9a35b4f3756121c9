"""Is nothing wrong but the arithmetic, and which one is it?"""
