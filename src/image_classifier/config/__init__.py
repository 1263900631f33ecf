"""Configuration: schema, composition with Hydra, and checks."""
