"""Commands: one noun a file."""
