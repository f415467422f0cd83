"""The domain: the catalog of objects, replicas and aliases, and the rules by which bytes move."""
