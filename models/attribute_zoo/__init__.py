"""The embedded attribute classifiers: small networks that this project trained on its own synthetic faces."""
