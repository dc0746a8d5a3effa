"""What trains: adapter strategies as rules over components and kinds of projection, and their audit."""
