"""Parts of methods that write bits into photos."""
