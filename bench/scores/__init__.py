"""How good gatewise itself is: its diagnosis, its checks, its reference's speed."""
