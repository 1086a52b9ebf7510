"""What metadata say of the images of a prepared dataset: `counting` while rows stream by, `panels` in
stats.png."""
