"""Assignment of proposals to targets, the four loss terms, and the criterion that composes them."""
