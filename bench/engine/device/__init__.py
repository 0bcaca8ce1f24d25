"""Where and how recognisers compute: devices, precision, passes sized to memory, photos read ahead."""
