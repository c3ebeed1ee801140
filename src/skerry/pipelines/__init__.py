"""One file, one flow."""
