"""Storage adapters: plain Python, one kind of storage a file; ``base`` is the contract that all of them keep."""
