"""Stage audit: duplicates, twins of training and test images, and unusual pictures of a data set."""
