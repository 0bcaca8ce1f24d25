"""Protection methods: one file each, behind the `Protector` contract of `base`."""
