"""Devices of a run, and how recognisers compute on them: precision, passes sized to memory, photos read ahead."""
