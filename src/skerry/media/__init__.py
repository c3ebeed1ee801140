"""Pure functions over media: decode, prepare, measure."""
