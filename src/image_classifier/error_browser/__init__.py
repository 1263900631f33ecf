"""The command `image-classifier errors`: a page with the test images that a run classifies wrongly."""
