"""Stage diagram: the architecture of the model as a drawing and a table."""
