"""What commands do, as calls from Python and notebooks."""
