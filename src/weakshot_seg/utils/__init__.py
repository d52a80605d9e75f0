"""Helpers without knowledge of the method."""
