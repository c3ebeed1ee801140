"""Text generation: a seam with a backend for each runtime, each in a replaceable process."""
