"""Commands over documents."""
