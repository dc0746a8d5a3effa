"""How sure a mean is, and whether two means of the same captions differ: resampling by source article."""
