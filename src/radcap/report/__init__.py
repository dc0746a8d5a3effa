"""Tables from the pipeline's own results."""
