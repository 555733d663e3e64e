"""Images: readers, transforms, batches, and two sets that need no internet.

Reading order: `imageset` (what was read), `sources` (what `--data` means), `digits` and `glyphs`
(the embedded sets), one reader a format (`idx`, `cifar`, `npz`, `folder` with `picture`), `limits`,
`transforms`, `batches`.
"""
