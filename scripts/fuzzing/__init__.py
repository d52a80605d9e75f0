"""What ``fuzz_inputs.py`` changes at random, and how it judges what is read of it."""
