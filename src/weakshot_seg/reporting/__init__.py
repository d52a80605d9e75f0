"""What finished runs left on disk, gathered into tables, curves and pictures."""
