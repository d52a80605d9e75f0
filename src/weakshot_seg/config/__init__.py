"""Composing settings and checking them before anything is written."""
