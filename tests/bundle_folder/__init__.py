"""Tests of a bundle's folder while it is being made."""
