"""Raw images in, a prepared dataset on the disk out: `prepare`, and from one to a larger one `augment`.

`request` and `augment_request` hold the settings and the plans; `shards` shares work between
processes; `resumable`, `chunks` and `merge` make a dataset, however often it is interrupted.
"""
