"""What runs on this machine, what listens on it, and what it uses, as /proc says."""
