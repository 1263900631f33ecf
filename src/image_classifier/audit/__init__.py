"""Stage audit: duplicates, also of training images among the test images, and unusual pictures of a data set."""
