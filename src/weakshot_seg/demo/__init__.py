"""The page to try a model: what it shows, and the page itself."""
