"""Emulators of face services on the loopback address, written from their documentation; for tests only."""
