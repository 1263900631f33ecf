"""Train, compare, track and serve image classifiers; MNIST is the worked example."""
