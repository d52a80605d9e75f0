"""What happens around training: progress bar, pictures, result files."""
