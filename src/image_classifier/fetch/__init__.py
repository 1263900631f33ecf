"""Stage fetch: raw images from their sources, checked by digest."""
