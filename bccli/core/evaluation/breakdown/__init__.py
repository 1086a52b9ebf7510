"""Which columns of metadata are worth a look, in stats.png and in a report: `columns`."""
