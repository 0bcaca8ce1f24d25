"""Statistics on records: intervals whose resampling unit is the person."""
