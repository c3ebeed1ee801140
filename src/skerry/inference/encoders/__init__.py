"""Text encoders: one file a runtime."""
