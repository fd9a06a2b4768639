"""Helpers that every part of dynnet may use."""
