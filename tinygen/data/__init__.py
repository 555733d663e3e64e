"""Data: text, tokenizers, splits, batches and verified fetching (NumPy, random and errors only).

Reading order: `corpus` (what was read), `text` and `embedded` (where it comes from), `sources`
(what `--data` means), `splits`, `tokenizers`, `batches`, `baselines`, `fetch`.
"""
