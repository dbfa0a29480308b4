"""Plan HEALPix tiles and partition sources into them."""
