"""Readers: whatever shape reviews arrive in, they leave as frames of strings with the line each row came from."""
