"""The data path: what an alias answers to curl."""
