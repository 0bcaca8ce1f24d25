"""Detection: can somebody who knows the method tell whether a photo is protected?"""
