"""The control plane: REST API v1, one noun a file."""
