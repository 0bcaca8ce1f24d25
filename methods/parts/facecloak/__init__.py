"""Parts of FaceCloak: its equations, each a function, and what the released code does instead."""
