"""Predicting files: what to predict, in parallel, and what is written; without a word about models."""
