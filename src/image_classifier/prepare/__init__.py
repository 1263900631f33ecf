"""Stage prepare: selection, description and sample images of the data set."""
