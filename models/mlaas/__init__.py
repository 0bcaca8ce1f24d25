"""Face services of vendors, one module each, as thin HTTP clients behind the contract `RemoteService`."""
