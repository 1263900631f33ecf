"""A small convolutional network on MNIST: data, model, training, evaluation, comparison and tracking."""
