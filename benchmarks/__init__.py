"""Measurements of speed: tables to be read, not tests."""
