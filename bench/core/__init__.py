"""The ground floor: random streams, digests, files, errors. Imports nothing of the project above it."""
