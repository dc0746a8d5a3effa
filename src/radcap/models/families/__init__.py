"""One module per model family, each with its adapter as FAMILY."""
