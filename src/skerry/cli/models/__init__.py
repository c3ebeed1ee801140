"""Commands over models."""
