"""Data: text, images, sets with known truth, verified fetching (NumPy, random and errors only).

Reading order: `corpus` (what was read), `text` and `embedded` (where it comes from), `sources`
(what `--data` means), `splits`, `tokenizers`, `batches`, `baselines`, `datasets` and `fetch`; then
`images` and `synthetic`, each a package with an order of its own.
"""
