"""Stage prepare: validation, description and sample images of the data set."""
