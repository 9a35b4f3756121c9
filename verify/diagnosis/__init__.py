"""Name the mistake: which known mistake computes exactly what a wrong layer computes?"""
