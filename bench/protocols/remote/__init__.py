"""Remote: what services of others say of protected photos: are they still accepted, found, read?"""
