"""Commands over texts."""
